"""Which layers a pass works on, and which it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from pithnet.errors import ModelError, RecipeError, nearest
from pithnet.patterns import any_matches
from pithnet.surgery import (
    Codebook,
    FakeQuantizer,
    Mask,
    TrainedLevels,
    Weighted,
    check_usable,
    coverage,
    held_tensors,
    other_matrices,
    parametrization,
    refusals,
    weighted_layers,
)


def selected_layers(
    model: nn.Module, skip: Sequence[str] = (), also: Sequence[str] = ()
) -> list[tuple[str, Weighted]]:
    """Returns the weights of `weighted_layers` that match none of the `skip` patterns, each with its name.

    A weight that several layers share is one: it is there once, under the name of the first, and it is
    skipped as soon as one of its layers is. A frozen layer (requires_grad is False) is compressed like any
    other and stays frozen: its zeros and levels are those of the pass, and no training moves them. `skip`
    leaves it as it is.

    Args:
        model: The network.
        skip: Patterns (`pithnet.patterns`) of layers and parameters that are left out. They may name any
            parameter.
        also: Patterns of parameters of two dimensions or more that are of no known kind. A parameter that is
            compressed already is among the weights without it.

    Raises:
        RecipeError: A pattern matches nothing.
        ModelError: A layer that is not skipped is of a kind that is not supported (`refusals`), has NaN or
            inf, has no weights yet or cannot be copied; or no layer is left. The message names the layer.
    """
    check_usable(model)
    layers, refused = list(weighted_layers(model, also)), refusals(model, also)
    _require_matches(model, skip, also, [refusal.names for refusal in refused])
    for refusal in refused:
        if not any_matches(skip, refusal.names):
            raise ModelError(str(refusal))
    chosen = [(name, layer) for name, layer in layers if not any_matches(skip, layer.all_names)]
    if not chosen:
        raise ModelError(_nothing_left(model, skip))
    for _, layer in chosen:
        if max(layer.channel_axes) >= layer.weight.ndim:
            raise ModelError(
                f"{layer.keys[0]} has {layer.weight.ndim} dimensions and no axis {max(layer.channel_axes)}, "
                "which its kind is registered with; give register_kind another channel_axis"
            )
        require_finite(layer)
    return chosen


def require_finite(layer: Weighted) -> None:
    """Refuses a layer whose weight holds NaN or inf.

    Raises:
        ModelError: The weight holds NaN or inf; the message names it.
    """
    if not bool(torch.isfinite(layer.weight).all()):
        raise ModelError(f"{layer.keys[0]} holds NaN or inf; train or export the model again")


def _require_matches(
    model: nn.Module, skip: Sequence[str], also: Sequence[str], refused: Sequence[tuple[str, ...]]
) -> None:
    """Raises RecipeError for the first pattern that matches nothing.

    A pattern is not a name, so the message says what it was to match.
    """
    layers, others = [layer for _, layer in weighted_layers(model)], other_matrices(model)
    names = [layer.all_names for layer in (*layers, *others)]
    held = [Weighted(holders).all_names for holders in held_tensors(model)]
    for pattern in skip:
        if not any(any_matches((pattern,), known) for known in (*names, *held, *refused)):
            known_layers = [layer.name for layer in layers]
            raise RecipeError(f"skip: {pattern!r} matches no layer.{nearest(pattern, known_layers)}")
    for pattern in also:
        if not any(any_matches((pattern,), known) for known in names):
            keys = [layer.keys[0] for layer in others]
            known_matrices = nearest(pattern, keys) if keys else " Every one is of a known kind."
            raise RecipeError(
                f"also: {pattern!r} matches no parameter of two dimensions or more.{known_matrices}"
            )


def _nothing_left(model: nn.Module, skip: Sequence[str]) -> str:
    message = "there is no convolution, linear layer or embedding left to compress"
    advice = coverage(model, skip).advice
    return message if advice is None else f"{message}; {advice}"


def refuse_coded(layers: Iterable[tuple[str, Weighted]]) -> None:
    """Refuses to prune layers that are shared, or quantized without having been pruned.

    Raises:
        ModelError: One of the layers is; the message names the first.
    """
    for _, layer in layers:
        if parametrization(layer, Codebook) or parametrization(layer, TrainedLevels):
            raise ModelError(f"{layer.keys[0]} is shared and cannot be pruned further; prune before sharing")
        # A mask that came before the quantizer can still be drawn anew.
        if parametrization(layer, FakeQuantizer) and not parametrization(layer, Mask):
            raise ModelError(f"{layer.keys[0]} is quantized and cannot be pruned; prune before quantizing")
