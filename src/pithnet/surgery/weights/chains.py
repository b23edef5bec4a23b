"""The chain of parametrizations on a weight: read it, add to it, take it off, for all holders at once.

Functions take a `Weighted` of `weighted_layers`, or a bare layer that alone holds its `weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.errors import ModelError
from pithnet.surgery.pickling import make_picklable
from pithnet.surgery.weights.holders import Holder, Weighted, weighted_layers
from pithnet.surgery.weights.parametrizations import Codebook, Mask, TrainedLevels
from pithnet.surgery.weights.recurrent import follow_parametrizations_, hold_weights_

Layer = Weighted | nn.Module
Part = TypeVar("Part", bound=nn.Module)


def chain(layer: Layer) -> tuple[nn.Module, ...]:
    """Returns the parametrizations of the layer's weight, in the order they are applied; () without any."""
    found = _list(_holders(layer)[0])
    return () if found is None else tuple(found)


def parametrization(layer: Layer, kind: type[Part]) -> Part | None:
    """Returns the layer's weight parametrization of a class, or None.

    Args:
        layer: A weight, or a layer that alone holds its `weight`.
        kind: The class.
    """
    return next((part for part in chain(layer) if isinstance(part, kind)), None)


def latent_weight(layer: Layer) -> Tensor:
    """Returns the trainable tensor under the layer's weight: the weight itself where it is plain."""
    first = _holders(layer)[0]
    found = _list(first)
    weight: Any = getattr(first.module, first.tensor) if found is None else found.original
    assert isinstance(weight, Tensor)
    return weight


def attach(layer: Layer, part: nn.Module) -> None:
    """Adds a parametrization at the end of the weight's chain, in place; all its holders share it.

    What is tied stays tied: the holders share the list of parametrizations itself, so one optimizer step, one
    mask drawn anew, one further part count for all.

    Args:
        layer: A weight, or a layer that alone holds its `weight`.
        part: The parametrization.
    """
    first, *others = _holders(layer)
    plain = _list(first) is None
    for holder in (first, *others):
        _own_class(holder.module)
    parametrize.register_parametrization(first.module, first.tensor, part)
    for other in others if plain else ():
        _share_list(other.module, other.tensor, _lists(first.module)[first.tensor])
    for holder in (first, *others):
        follow_parametrizations_(holder.module)
        make_picklable(type(holder.module), _take_apart)


def release(layer: Layer) -> None:
    """Removes the parametrizations of the layer's weight, in place; the weight keeps its values and ties."""
    first, *others = _holders(layer)
    if _list(first) is None:
        return
    for other in others:
        # torch sets the tensor under a chain as it removes it: a shared chain is removed at one place only.
        stand_in = parametrize.ParametrizationList([nn.Identity()], nn.Parameter(torch.empty(0)), unsafe=True)
        _lists(other.module)[other.tensor] = stand_in
        _remove(other)
    _remove(first)
    for other in others:
        setattr(other.module, other.tensor, getattr(first.module, first.tensor))


def release_all(model: nn.Module) -> None:
    """Removes every parametrization in the model, other libraries' too, in place; values and ties stay."""
    for _, layer in weighted_layers(model):
        release(layer)
    for module in [m for m in model.modules() if parametrize.is_parametrized(m)]:
        for tensor in list(_lists(module)):
            _remove(Holder(module, tensor, ("",)))


def set_mask(layer: Layer, mask: Tensor, recoverable: bool = False) -> None:
    """Masks the layer's weight, in place: redraws its mask where it has one, else adds one.

    Args:
        layer: A weight, or a layer that alone holds its `weight`.
        mask: Booleans of the weight's shape, True where it stays.
        recoverable: Whether pruned weights get a gradient and may come back.

    Raises:
        ModelError: The weight is shared or quantized already: pruning comes before.
    """
    found = parametrization(layer, Mask)
    if found is not None:
        found.mask.copy_(mask)
        found.recoverable = recoverable
    elif chain(layer):
        raise ModelError("a weight is pruned before it is shared or quantized, not after")
    else:
        attach(layer, Mask(mask.clone(), recoverable))


def set_codebook(layer: Layer, index: Tensor, centroids: Tensor) -> None:
    """Replaces the layer's parametrizations by a fixed assignment to centroids, in place.

    The centroids train, unless the weight is frozen (requires_grad False): then so are they.

    Args:
        layer: A weight, or a layer that alone holds its `weight`.
        index: Integers 0..K of the weight's shape; 0 is exact zero.
        centroids: (K,).
    """
    release(layer)
    attach(layer, Codebook(index, centroids))


def set_trained_levels(layer: Layer, levels: Tensor, prices: Tensor) -> None:
    """Rounds the layer's weight to levels after whatever masks it, in place.

    The levels train, unless the weight is frozen.

    Args:
        layer: A weight, or a layer that alone holds its `weight`.
        levels: (K,).
        prices: (K,), what choosing each level costs in squared distance.
    """
    part = TrainedLevels(levels, prices)
    part.levels.requires_grad_(latent_weight(layer).requires_grad)
    attach(layer, part)


def shared_parameters(model: nn.Module) -> Iterator[tuple[nn.Parameter, float]]:
    """Yields codebooks and trained levels, (K,) each, with the mean number of weights that share an entry.

    Those of frozen weights are left out: they do not train.
    """
    for _, layer in weighted_layers(model):
        levels, codebook = parametrization(layer, TrainedLevels), parametrization(layer, Codebook)
        latent = latent_weight(layer) if levels or codebook else None
        if latent is None or not latent.requires_grad:
            continue
        if levels is not None:
            yield levels.levels, int(layer.weight.count_nonzero()) / len(levels.levels)
        elif codebook is not None:
            assert isinstance(latent, nn.Parameter)
            yield latent, int(codebook.index.count_nonzero()) / max(len(latent), 1)


def _holders(layer: Layer) -> tuple[Holder, ...]:
    return layer.holders if isinstance(layer, Weighted) else (Holder(layer, "weight", ("",)),)


def _lists(module: nn.Module) -> nn.ModuleDict:
    found: nn.ModuleDict = module.parametrizations  # type: ignore[assignment]
    return found


def _list(holder: Holder) -> Any:
    if not parametrize.is_parametrized(holder.module, holder.tensor):
        return None
    return _lists(holder.module)[holder.tensor]


def _remove(holder: Holder) -> None:
    _own_class(holder.module)
    parametrize.remove_parametrizations(holder.module, holder.tensor, leave_parametrized=True)
    hold_weights_(holder.module)


def _share_list(module: nn.Module, tensor: str, found: nn.Module) -> None:
    """Gives a module's plain tensor a list of parametrizations that there is already."""
    parametrize.register_parametrization(module, tensor, nn.Identity(), unsafe=True)
    _lists(module)[tensor] = found


def _take_apart(state: dict[str, Any]) -> tuple[Callable[[nn.Module, Any], None], Any]:
    if "_flat_weights_names" in state:
        state.setdefault("_flat_weights", [])  # torch looks for it as it loads a recurrent module
    return put_on_lists, dict(state["_modules"].pop("parametrizations").items())


def put_on_lists(module: nn.Module, lists: Mapping[str, nn.Module]) -> None:
    """Gives a module without these tensors their lists of parametrizations, in place.

    Args:
        module: A module.
        lists: The lists, by the names of the tensors.
    """
    for tensor, found in lists.items():
        module.register_parameter(tensor, nn.Parameter(torch.empty(0)))
        _share_list(module, tensor, found)
    follow_parametrizations_(module)
    make_picklable(type(module), _take_apart)


def _own_class(module: nn.Module) -> None:
    """Gives the layer a dynamic class of its own.

    A deep copy shares it with the original; torch puts `weight` on that class and takes it off.
    """
    if parametrize.is_parametrized(module):
        cls = type(module)
        own = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        module.__class__ = type(cls.__name__, cls.__bases__, own)
