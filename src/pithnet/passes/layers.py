"""Which layers a pass works on, and which it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from pithnet.errors import ModelError, RecipeError, nearest
from pithnet.surgery import (
    Codebook,
    FakeQuantizer,
    Mask,
    TrainedLevels,
    Weighted,
    check_usable,
    parametrization,
    refusals,
    weighted_layers,
)


def selected_layers(model: nn.Module, skip: Sequence[str] = ()) -> list[tuple[str, Weighted]]:
    """The weights of `weighted_layers` that match none of the `skip` patterns (as in shells: * ?).

    A weight that several layers share is one: it is there once, under the name of the first, and skipped as
    soon as one of its layers is. A frozen layer (requires_grad False) is compressed like any other and stays
    frozen: its zeros and levels are those of the pass, no training moves them; `skip` leaves it as it is.

    Raises RecipeError for a pattern that matches nothing. Raises ModelError naming the layer where one is of
    a kind that is not supported (`refusals`) and not skipped, has NaN or inf, has no weights yet or cannot be
    copied; or where none is left.
    """
    check_usable(model)
    layers, refused = list(weighted_layers(model)), refusals(model)
    known = [*(layer.names for _, layer in layers), *(refusal.names for refusal in refused)]
    for pattern in skip:
        if not any(_matches(names, (pattern,)) for names in known):
            raise RecipeError(
                f"skip: {pattern!r} matches no layer.{nearest(pattern, [n for n, _ in layers])}"
            )
    for refusal in refused:
        if not _matches(refusal.names, skip):
            raise ModelError(str(refusal))
    chosen = [(name, layer) for name, layer in layers if not _matches(layer.names, skip)]
    if not chosen:
        raise ModelError("there is no convolution, linear layer or embedding left to compress")
    for _, layer in chosen:
        if not bool(torch.isfinite(layer.weight).all()):
            raise ModelError(f"{layer.keys[0]} holds NaN or inf; train or export the model again")
    return chosen


def refuse_coded(layers: Iterable[tuple[str, Weighted]]) -> None:
    """Raises ModelError naming the first layer that is shared, or quantized without having been pruned."""
    for _, layer in layers:
        if parametrization(layer, Codebook) or parametrization(layer, TrainedLevels):
            raise ModelError(f"{layer.keys[0]} is shared and cannot be pruned further; prune before sharing")
        # A mask that came before the quantizer can still be drawn anew.
        if parametrization(layer, FakeQuantizer) and not parametrization(layer, Mask):
            raise ModelError(f"{layer.keys[0]} is quantized and cannot be pruned; prune before quantizing")


def _matches(names: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
