"""The weights of a network: every tensor that is compressed, with every place in the model that holds it.

Two modules may hold one tensor (an embedding tied to the output layer), and one module may stand in two
places: whatever is done to a weight is done once, for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

_KINDS: dict[type[nn.Module], tuple[str, ...]] = {
    _ConvNd: ("weight",),
    nn.Linear: ("weight",),
    nn.Bilinear: ("weight",),
    nn.Embedding: ("weight",),
    nn.EmbeddingBag: ("weight",),
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
    RNNCellBase: ("weight_ih", "weight_hh"),
}


@dataclass(frozen=True, eq=False)
class Holder:
    """A tensor of one module: `module.tensor`, under each of the module's names in the model ("": root)."""

    module: nn.Module
    tensor: str
    paths: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The tensor's names in a plain state_dict."""
        return tuple(f"{path}.{self.tensor}" if path else self.tensor for path in self.paths)


@dataclass(frozen=True, eq=False)
class Weighted:
    """One weight and its holders; the first is the layer it is named after.

    name: the layer's, or, for a tensor not called `weight`, its key (`attention.in_proj_weight`).
    """

    holders: tuple[Holder, ...]

    @property
    def name(self) -> str:
        first = self.holders[0]
        return first.paths[0] if first.tensor == "weight" else first.keys[0]

    @property
    def names(self) -> tuple[str, ...]:
        """All it may be called: the paths of its holders, and the keys of tensors not called `weight`."""
        paths = [path for holder in self.holders for path in holder.paths]
        return (*paths, *(k for h in self.holders if h.tensor != "weight" for k in h.keys))

    @property
    def keys(self) -> tuple[str, ...]:
        """Its names in a plain state_dict."""
        return tuple(key for holder in self.holders for key in holder.keys)

    @property
    def weight(self) -> Tensor:
        """The tensor the layers compute with, of the layer's shape; parametrizations applied."""
        value: Tensor = getattr(self.holders[0].module, self.holders[0].tensor)
        return value


def compressible(module: nn.Module) -> tuple[str, ...]:
    """Names of the tensors that are compressed in a module of this kind; () for all other kinds."""
    return next((tensors for kind, tensors in _KINDS.items() if isinstance(module, kind)), ())


def weighted_layers(model: nn.Module) -> Iterator[tuple[str, Weighted]]:
    """The weights that are compressed, by name, each once however many modules share it.

    Weights of convolutions (transposed, grouped ones too), linear and bilinear layers, embeddings, attention
    and recurrent cells, in the order of the model's modules.
    """
    for holders in held_tensors(model):
        own = [h for h in holders if h.tensor in compressible(h.module)]
        if own:
            found = Weighted((own[0], *(h for h in holders if h is not own[0])))
            yield found.name, found


def held_tensors(model: nn.Module) -> list[tuple[Holder, ...]]:
    """Every parameter of the model that has values, and every parametrized tensor, with its holders."""
    found: dict[object, list[Holder]] = {}
    for module, paths in module_paths(model):
        for tensor, identity in _tensors(module):
            found.setdefault(identity, []).append(Holder(module, tensor, paths))
    return [tuple(holders) for holders in found.values()]


def module_paths(model: nn.Module) -> list[tuple[nn.Module, tuple[str, ...]]]:
    """Every module once, with all its names, without those that belong to a parametrization."""
    paths: dict[nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if "parametrizations" not in path.split("."):
            paths.setdefault(module, []).append(path)
    return [(module, tuple(names)) for module, names in paths.items()]


def _tensors(module: nn.Module) -> Iterator[tuple[str, object]]:
    """Names of a module's own tensors, and what is one and the same object wherever the tensor is held."""
    if isinstance(module, torch.jit.ScriptModule):
        return  # it makes new objects for its tensors at every look
    for name, parameter in module._parameters.items():
        if parameter is not None and not is_lazy(parameter):
            yield name, id(parameter)
    if parametrize.is_parametrized(module):
        chains: nn.ModuleDict = module.parametrizations  # type: ignore[assignment]
        yield from ((name, id(chain)) for name, chain in chains.items())
    for name in compressible(module):
        if module._buffers.get(name) is not None:
            yield name, (id(module), name)
