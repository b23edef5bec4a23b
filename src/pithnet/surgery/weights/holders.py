"""The weights of a network: every tensor that is compressed, with every place in the model that holds it.

Two modules may hold one tensor (an embedding tied to the output layer), and one module may stand in two
places: whatever is done to a weight is done once, for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from pithnet.patterns import any_matches
from pithnet.surgery.weights.kinds import Axes, kind_tensors
from pithnet.surgery.weights.parametrizations import PARAMETRIZATIONS
from pithnet.surgery.wrappers import plain_key, unwrapped

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_MATRIX: Axes = (0,)  # (outputs, inputs), as torch's layers have it
_EXPERTS: Axes = (0, 1)  # (experts, outputs, inputs): a matrix for each expert


@dataclass(frozen=True, eq=False)
class Holder:
    """A tensor of one module, `module.tensor`.

    Attributes:
        module: The module.
        tensor: The tensor's name in it.
        paths: Each of the module's names in the model; "" is the model itself.
    """

    module: nn.Module
    tensor: str
    paths: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The tensor's names in a plain state_dict."""
        return tuple(f"{path}.{self.tensor}" if path else self.tensor for path in self.paths)


@dataclass(frozen=True, eq=False)
class Weighted:
    """One weight and its holders; the first is the layer it is named after."""

    holders: tuple[Holder, ...]

    @property
    def name(self) -> str:
        """The layer's name, or, for a tensor not called `weight`, its key (`attention.in_proj_weight`)."""
        first = self.holders[0]
        return first.paths[0] if first.tensor == "weight" else first.keys[0]

    @property
    def names(self) -> tuple[str, ...]:
        """All that it may be called: the paths of its holders, and keys of tensors not called `weight`."""
        paths = [path for holder in self.holders for path in holder.paths]
        return (*paths, *(k for h in self.holders if h.tensor != "weight" for k in h.keys))

    @property
    def keys(self) -> tuple[str, ...]:
        """Its names in a plain state_dict."""
        return tuple(key for holder in self.holders for key in holder.keys)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Everything that a pattern of `skip` or `also` may match: `names` and `keys`."""
        return tuple(dict.fromkeys((*self.names, *self.keys)))

    @property
    def channel_axes(self) -> tuple[int, ...]:
        """The axes of the weight along which its output channels lie: one, and for experts two.

        Where the parameter's module is of no known kind, it is the first axis, and of three dimensions the
        first two.
        """
        first = self.holders[0]
        known = kind_tensors(first.module).get(first.tensor)
        return known or (_EXPERTS if self.weight.ndim == 3 else _MATRIX)

    @property
    def weight(self) -> Tensor:
        """The tensor the layers compute with, of the layer's shape; parametrizations applied."""
        value: Tensor = getattr(self.holders[0].module, self.holders[0].tensor)
        return value


def compressible(module: nn.Module) -> tuple[str, ...]:
    """Returns the names of the tensors that are compressed in a module of this kind; () for all others."""
    return tuple(kind_tensors(module))


def weighted_layers(model: nn.Module, also: Sequence[str] = ()) -> Iterator[tuple[str, Weighted]]:
    """Yields the weights that are compressed, by name, each once however many modules share it.

    They are weights of every known kind (`register_kind`): convolutions (transposed, grouped ones too),
    linear and bilinear layers, embeddings, attention, recurrent layers and cells; parameters of other kinds
    whose name matches a pattern of `also`, and those that are under a mask, codebook or quantizer already.
    They come in the order of the model's modules.

    Args:
        model: Any network.
        also: Patterns of further parameters.

    Yields:
        The weight's name, and the weight.
    """
    for holders in held_tensors(model):
        own = [h for h in holders if h.tensor in compressible(h.module)]
        if not own and (_is_ours(holders[0]) or (is_matrix(holders[0]) and _named(holders, also))):
            own = [holders[0]]
        if own:
            found = Weighted((own[0], *(h for h in holders if h is not own[0])))
            yield found.name, found


def other_matrices(model: nn.Module) -> list[Weighted]:
    """Returns the parameters that `also` may name: of two dimensions or more, in modules of no known kind."""
    return [
        Weighted(holders)
        for holders in held_tensors(model)
        if not any(h.tensor in compressible(h.module) for h in holders) and is_matrix(holders[0])
    ]


def held_tensors(model: nn.Module) -> list[tuple[Holder, ...]]:
    """Returns every parameter of the model that has values, and every parametrized tensor, by holders."""
    found: dict[object, list[Holder]] = {}
    for module, paths in module_paths(model):
        for tensor, identity in _tensors(module):
            found.setdefault(identity, []).append(Holder(module, tensor, paths))
    return [tuple(holders) for holders in found.values()]


def module_paths(model: nn.Module) -> list[tuple[nn.Module, tuple[str, ...]]]:
    """Returns every module once, with all its names, without those that belong to a parametrization."""
    paths: dict[nn.Module, list[str]] = {}
    for path, module in unwrapped(model).named_modules(remove_duplicate=False):
        if "parametrizations" not in path.split(".") and unwrapped(module) is module:
            paths.setdefault(module, []).append(plain_key(path))
    return [(module, tuple(names)) for module, names in paths.items()]


def _tensors(module: nn.Module) -> Iterator[tuple[str, object]]:
    """Yields names of a module's own tensors, each with an object that is the same wherever it is held."""
    if isinstance(module, torch.jit.ScriptModule):
        return  # it makes new objects for its tensors at every look
    for name, parameter in module._parameters.items():
        if parameter is not None and not is_lazy(parameter):
            yield name, id(parameter)
    if parametrize.is_parametrized(module):
        chains: nn.ModuleDict = module.parametrizations  # type: ignore[assignment]
        yield from ((name, id(chain)) for name, chain in chains.items())
    for name in compressible(module) if module._buffers else ():
        if module._buffers.get(name) is not None:
            yield name, (id(module), name)


def _is_ours(holder: Holder) -> bool:
    """Tells whether a parametrization of ours is on the tensor."""
    if not parametrize.is_parametrized(holder.module, holder.tensor):
        return False
    chains: nn.ModuleDict = holder.module.parametrizations  # type: ignore[assignment]
    return isinstance(chains[holder.tensor][0], PARAMETRIZATIONS)  # type: ignore[index]


def is_matrix(holder: Holder) -> bool:
    """Tells whether a tensor has two dimensions or more, and is no bias nor of a norm.

    Dimensions of size 1 do not count.
    """
    value, name = getattr(holder.module, holder.tensor), holder.tensor
    is_bias = name == "bias" or name.startswith("bias_") or name.endswith("_bias")
    if is_bias or isinstance(holder.module, _NORMS) or not isinstance(value, Tensor):
        return False
    return sum(size > 1 for size in value.shape) > 1


def _named(holders: tuple[Holder, ...], patterns: Sequence[str]) -> bool:
    return any_matches(patterns, Weighted(holders).all_names)
