"""Layers that cannot be compressed, by name, with a reason and a remedy: known before anything changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from pithnet.errors import ModelError
from pithnet.surgery.weights.chains import chain, latent_weight
from pithnet.surgery.weights.holders import (
    Weighted,
    compressible,
    held_tensors,
    module_paths,
    weighted_layers,
)
from pithnet.surgery.weights.parametrizations import PARAMETRIZATIONS

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_TAKE_OFF = "take it off first with torch.nn.utils"


@dataclass(frozen=True)
class Refusal:
    """A layer that cannot be compressed.

    Attributes:
        names: What it may be called in `skip`.
        what: The layer and the reason, as messages say it.
        fix: What else would do.
        copyable: Whether a copy of the model can be made; where not, skipping the layer would not help.
    """

    names: tuple[str, ...]
    what: str
    fix: str = ""
    copyable: bool = True

    def __str__(self) -> str:
        if not self.copyable:
            return f"{self.what} cannot be copied, nor compressed; {self.fix}"
        skip = f"add {self.names[0]!r} to skip to leave it as it is" if self.names[0] else ""
        advice = ", or ".join(part for part in (self.fix, skip) if part)
        return f"{self.what} cannot be compressed{f'; {advice}' if advice else ''}"


def uninitialized(model: nn.Module) -> str | None:
    """Returns name and kind of the first lazy module that has no weights yet, None where there is none."""
    for name, module in model.named_modules():
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():  # type: ignore[misc]
            return f"{name} ({type(module).__name__})"
    return None


def check_usable(model: nn.Module) -> None:
    """Checks that a model has its weights and can be copied.

    Raises:
        ModelError: A lazy module has no weights yet, or torch cannot copy a module; the message names it.
    """
    lazy = uninitialized(model)
    if lazy:
        raise ModelError(f"{lazy} has no weights yet; run one batch through the model first")
    for refusal in refusals(model):
        if not refusal.copyable:
            raise ModelError(str(refusal))


def refusals(model: nn.Module, also: Sequence[str] = ()) -> list[Refusal]:
    """Returns every module whose weights would be missed or broken, and every tie that cannot be shared.

    Args:
        model: Any network.
        also: Patterns of further parameters, as `weighted_layers` takes them.
    """
    layers = [layer for _, layer in weighted_layers(model, also)]
    return [*_by_module(model), *_by_weight(layers), *_by_memory(model, layers)]


def _by_module(model: nn.Module) -> Iterator[Refusal]:
    for module, paths in module_paths(model):
        what = f"{paths[0] or 'the model'} ({type(module).__name__})"
        if _is_quantized(module):
            yield Refusal(paths, what, "start from the float model")
        elif isinstance(module, torch.jit.ScriptModule):
            yield Refusal(paths, what, "start from the module before scripting")
        elif isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            yield Refusal(paths, f"{what} with sparse gradients", "build it with sparse=False")
        elif isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
            yield Refusal(paths, f"{what}, which rescales its weight in every forward pass (max_norm),")
        else:
            yield from _by_hook(module, paths)


def _is_quantized(module: nn.Module) -> bool:
    return any(cls.__module__.startswith("torch.ao.nn.") for cls in type(module).__mro__)


def _by_hook(module: nn.Module, paths: tuple[str, ...]) -> Iterator[Refusal]:
    """Yields weights that a hook computes from others before each forward: weight_norm, torch's pruning."""
    for tensor in compressible(module):
        own = (*module._parameters, *module._buffers)
        if tensor in own or parametrize.is_parametrized(module, tensor) or not hasattr(module, tensor):
            continue
        layer = paths[0] or "the model"
        what, fix = f"{layer}, whose {tensor} is no parameter,", "make it one"
        if f"{tensor}_g" in own:
            what, fix = f"{layer} with weight_norm", f"{_TAKE_OFF}.remove_weight_norm"
        elif f"{tensor}_mask" in own:
            what, fix = f"{layer} with a mask of torch's", f"{_TAKE_OFF}.prune.remove"
        elif f"{tensor}_u" in own:
            what, fix = f"{layer} with spectral_norm", f"{_TAKE_OFF}.remove_spectral_norm"
        value = getattr(module, tensor)
        yield Refusal(paths, what, fix, copyable=not isinstance(value, Tensor) or value.grad_fn is None)


def _by_weight(layers: Sequence[Weighted]) -> Iterator[Refusal]:
    for layer in layers:
        name = layer.name
        foreign = [type(part).__name__ for part in chain(layer) if not isinstance(part, PARAMETRIZATIONS)]
        if foreign:
            fix = f"{_TAKE_OFF}.parametrize.remove_parametrizations"
            yield Refusal(layer.names, f"{name or 'the model'} with a {foreign[0]} parametrization", fix)
        elif latent_weight(layer).dtype not in _FLOATS:
            yield Refusal(layer.names, f"{layer.keys[0]}, which is {latent_weight(layer).dtype},")


def _by_memory(model: nn.Module, weighted: Sequence[Weighted]) -> Iterator[Refusal]:
    """Yields weights that share memory with a parameter without being one and the same with it."""
    layers = {id(layer.weight): layer for layer in weighted if not chain(layer)}
    places: dict[int, tuple[str, Tensor]] = {}
    for first, *_ in held_tensors(model):
        value = first.module._parameters.get(first.tensor)
        if value is None or value.is_meta or not value.numel():
            continue
        key, other = places.setdefault(value.data_ptr(), (first.keys[0], value))
        what = f"{first.keys[0]}, which shares the memory of {key} without being the same parameter,"
        for layer in (layers.get(id(p)) for p in (value, other) if other is not value):
            if layer is not None:
                yield Refusal(layer.names, what, "make them one parameter, as in a.weight = b.weight")
