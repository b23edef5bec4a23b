"""How many bits each layer's weights take: asked for, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from pithnet.passes.amounts import layer_amounts
from pithnet.surgery import Weighted, fake_quantizer, weighted_layers
from pithnet.tensor.quantizers import require_bits

FLOAT_BITS = 32
Overrides = Mapping[str, int | None]


def layer_bits(
    layers: Sequence[tuple[str, Weighted]], bits: int | None, overrides: Overrides
) -> dict[str, int | None]:
    """Returns the bits of each layer by name: those of the last pattern of `overrides` that fits, or `bits`.

    Args:
        layers: The layers that are quantized, as `selected_layers` gives them.
        bits: 1 to 8 for a code of so many bits; 0 makes a layer zero, and None leaves it as it is.
        overrides: Other bits for the layers that match a pattern (`pithnet.patterns`).

    Raises:
        RecipeError: Bits are outside 0 to 8, or a pattern matches no layer.
    """
    for asked in (bits, *overrides.values()):
        if asked is not None:
            require_bits(asked)
    return layer_amounts(layers, bits, overrides, "quantized")


def average_bits(model: nn.Module) -> float:
    """Counts the bits per weight over all layers.

    A layer that is not quantized counts with 32 bits; biases and BatchNorm do not count at all.
    """
    spent = [(layer.weight.numel(), _bits(layer)) for _, layer in weighted_layers(model)]
    return sum(n * b for n, b in spent) / max(sum(n for n, _ in spent), 1)


def _bits(layer: Weighted) -> int:
    found = fake_quantizer(layer)
    return FLOAT_BITS if found is None else found.quantizer.bits
