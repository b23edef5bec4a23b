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
    """The bits of each layer by name: those of the last pattern of `overrides` that fits, else `bits`.

    Patterns are those of `pithnet.patterns`. None leaves a layer as it is, 0 makes it zero.
    Raises RecipeError for bits outside 0..8, and for a pattern that matches nothing.
    """
    for asked in (bits, *overrides.values()):
        if asked is not None:
            require_bits(asked)
    return layer_amounts(layers, bits, overrides, "quantized")


def average_bits(model: nn.Module) -> float:
    """Bits per weight over all layers; what is not quantized counts with 32, biases and BN not at all."""
    spent = [(layer.weight.numel(), _bits(layer)) for _, layer in weighted_layers(model)]
    return sum(n * b for n, b in spent) / max(sum(n for n, _ in spent), 1)


def _bits(layer: Weighted) -> int:
    found = fake_quantizer(layer)
    return FLOAT_BITS if found is None else found.quantizer.bits
