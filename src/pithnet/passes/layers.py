"""Which layers a pass works on, and which it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.utils import parametrize

from pithnet.errors import ModelError, RecipeError, nearest
from pithnet.surgery import (
    PARAMETRIZATIONS,
    Codebook,
    TrainedLevels,
    Weighted,
    parametrization,
    weighted_layers,
)


def selected_layers(model: nn.Module, skip: Sequence[str] = ()) -> list[tuple[str, Weighted]]:
    """Convolutions and linear layers whose name matches none of the `skip` patterns (as in shells: * ?).

    Raises RecipeError for a pattern that matches nothing. Raises ModelError naming the layer where one has
    NaN or inf, shares its weight with another, or is of a kind that is not supported; or where none is left.
    """
    layers, refused = list(weighted_layers(model)), dict(_unsupported(model))
    names = [name for name, _ in layers]
    for pattern in skip:
        if not any(fnmatchcase(name, pattern) for name in (*names, *refused)):
            raise RecipeError(f"skip: {pattern!r} matches no layer.{nearest(pattern, names)}")
    for name, reason in refused.items():
        if not _matches(name, skip):
            raise ModelError(f"{reason} cannot be compressed; add {name!r} to skip to leave it as it is")
    chosen = [(n, m) for n, m in layers if not _matches(n, skip)]
    if not chosen:
        raise ModelError("there is no convolution or linear layer left to compress")
    for name, layer in chosen:
        if not bool(torch.isfinite(layer.weight).all()):
            raise ModelError(f"{name}.weight holds NaN or inf; train or export the model again")
    return chosen


def refuse_shared(layers: Iterable[tuple[str, Weighted]]) -> None:
    """Raises ModelError naming the first layer that is shared already: pruning comes before sharing."""
    for name, layer in layers:
        if parametrization(layer, Codebook) or parametrization(layer, TrainedLevels):
            raise ModelError(f"{name}.weight is shared and cannot be pruned further; prune before sharing")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _unsupported(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Name and description of every module whose weights would be missed, or broken."""
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            yield name, f"{name} ({type(module).__name__})"
    for name, layer in weighted_layers(model):
        if hasattr(layer, "weight_g"):
            yield name, f"{name} with weight_norm"
        elif parametrize.is_parametrized(layer, "weight"):
            chain: nn.ModuleList = layer.parametrizations["weight"]  # type: ignore[index,assignment]
            foreign = [type(part).__name__ for part in chain if not isinstance(part, PARAMETRIZATIONS)]
            if foreign:
                yield name, f"{name} with a {foreign[0]} parametrization"
    yield from _tied(model)


def _tied(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Layers whose weight is another module's too: what is done to one of them would break the other."""
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(name, recurse=False):
            holders.setdefault(id(parameter), []).append(key)
    compressed = {(f"{name}.weight" if name else "weight"): name for name, _ in weighted_layers(model)}
    for keys in holders.values():
        for key in keys if len(keys) > 1 else ():
            if key in compressed:
                yield compressed[key], f"{key}, which is tied to {next(k for k in keys if k != key)},"
