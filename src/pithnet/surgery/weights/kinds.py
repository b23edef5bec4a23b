"""Which tensors of which kinds of module are compressed, and where their channels lie: one registry."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNCellBase

from pithnet.errors import ModelError

Axes = tuple[int, ...]
_Names = Callable[[nn.Module], tuple[str, ...]]
_FIRST: Axes = (0,)


def _recurrent(module: nn.Module) -> tuple[str, ...]:
    """Returns the matrices of an LSTM, GRU or RNN: as many as it has layers, directions and projections."""
    names: list[str] = module._flat_weights_names  # type: ignore[assignment]
    return tuple(name for name in names if name.startswith("weight"))


# Of each class, or its qualified name, the tensors by name with their channel axes.
_KINDS: dict[type[nn.Module] | str, dict[str, Axes]] = {
    _ConvNd: {"weight": _FIRST},
    nn.Linear: {"weight": _FIRST},
    nn.Bilinear: {"weight": _FIRST},
    nn.Embedding: {"weight": _FIRST},
    nn.EmbeddingBag: {"weight": _FIRST},
    nn.MultiheadAttention: dict.fromkeys(
        ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"), _FIRST
    ),
    RNNCellBase: {"weight_ih": _FIRST, "weight_hh": _FIRST},
    "transformers.pytorch_utils.Conv1D": {"weight": (1,)},  # GPT-2's linear layer: (inputs, outputs)
}
_NAMED_BY_MODULE: dict[type[nn.Module], _Names] = {nn.RNNBase: _recurrent}


def register_kind(
    cls: type[nn.Module] | str,
    weights: Sequence[str] = ("weight",),
    channel_axis: int | Sequence[int] = 0,
) -> None:
    """Lets every pass compress the tensors `weights` of modules of this class and of its subclasses.

        pn.surgery.register_kind(MyLinear, channel_axis=1)
        pn.surgery.register_kind("package.models.Experts", weights=("up", "down"), channel_axis=(0, 1))

    Where a module's class and base class are both registered, the nearer one in its bases counts. A further
    call for the same class adds tensors to it, and replaces those that it names again.

    Args:
        cls: The class, or its qualified name "package.module.Class": such a class is looked up in the modules
            that are imported already, each time, and never imported.
        weights: Names of its parameters, of two dimensions or more.
        channel_axis: The axis of these tensors whose entries are the output channels (what has a step of its
            own in `quantize(granularity="channel")`, and is a filter for group regularizers): 0 for (outputs,
            inputs, ...), 1 for (inputs, outputs). Several axes where a channel is an entry of all of them:
            (0, 2) for experts of (experts, inputs, outputs).

    Raises:
        ModelError: The class is no class of modules nor a qualified name, there are no weights or names that
            no attribute can have, or the axes are no distinct integers from 0 on.
    """
    key = _checked_class(cls)
    names, axes = _checked_names(weights), _checked_axes(channel_axis)
    _KINDS.setdefault(key, {}).update(dict.fromkeys(names, axes))


def kind_tensors(module: nn.Module) -> dict[str, Axes]:
    """Returns the tensors compressed in a module of this kind, with their channel axes; {} for no kind."""
    own = next((names(module) for cls, names in _NAMED_BY_MODULE.items() if isinstance(module, cls)), ())
    known = ((_class(key), tensors) for key, tensors in _KINDS.items())
    found = [(cls, tensors) for cls, tensors in known if cls is not None and isinstance(module, cls)]
    bases = type(module).__mro__
    # An abstract base class may count a module among its instances without being one of its bases.
    found.sort(key=lambda kind: bases.index(kind[0]) if kind[0] in bases else len(bases))
    return {**dict.fromkeys(own, _FIRST), **(found[0][1] if found else {})}


def _class(key: type[nn.Module] | str) -> type | None:
    """Returns the class that a key of the registry stands for; None where its module is not imported."""
    if not isinstance(key, str):
        return key
    module, _, name = key.rpartition(".")
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    return found if isinstance(found, type) else None


def _checked_class(cls: type[nn.Module] | str) -> type[nn.Module] | str:
    if isinstance(cls, str):
        if "." in cls and all(part.isidentifier() for part in cls.split(".")):
            return cls
        raise ModelError(f"{cls!r} is no qualified name of a class; give one like 'package.module.Class'")
    if not isinstance(cls, type) or not issubclass(cls, nn.Module) or cls is nn.Module:
        raise ModelError(
            f"register_kind takes a class derived from torch.nn.Module, or its qualified name, not {cls!r}"
        )
    return cls


def _checked_names(weights: Sequence[str]) -> tuple[str, ...]:
    if isinstance(weights, str):
        raise ModelError(f"weights is a sequence of names; write weights=({weights!r},)")
    names = tuple(weights)
    if not names or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ModelError(f"weights names one parameter of the class or more, not {list(names)}")
    return names


def _checked_axes(channel_axis: int | Sequence[int]) -> Axes:
    axes = (channel_axis,) if isinstance(channel_axis, int) else tuple(channel_axis)
    whole = all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0 for axis in axes)
    if not axes or not whole or len(set(axes)) < len(axes):
        raise ModelError(f"channel_axis is an axis from 0 on, or several different ones, not {channel_axis}")
    return axes
