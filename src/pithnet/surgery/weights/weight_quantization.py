"""Fake quantizers on the weights of a model: put there, found, and what stands under them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pithnet.surgery.weights.chains import Layer, attach, chain, latent_weight, parametrization, set_mask
from pithnet.surgery.weights.fake_quantizers import FakeQuantizer
from pithnet.surgery.weights.holders import Holder, Weighted


def fake_quantizer(layer: Layer) -> FakeQuantizer | None:
    """Returns the fake quantizer of the layer's weight, None where it has none."""
    return parametrization(layer, FakeQuantizer)


def unquantized_weight(layer: Layer) -> Tensor:
    """Returns the layer's weight, masked, as it goes into its fake quantizer; without one, the weight."""
    weight = latent_weight(layer)
    for part in chain(layer):
        if isinstance(part, FakeQuantizer):
            break
        weight = part(weight)
    return weight


def set_fake_quantizer(layer: Layer, part: FakeQuantizer) -> None:
    """Quantizes the layer's weight, in place: after whatever masks it, instead of an earlier fake quantizer.

    Zeros the weight has are pruned weights: it gets a mask for them where it has none, so that no training
    fills them. A learned scale is frozen where the weight is.

    Args:
        layer: A weight, or a layer that alone holds its `weight`.
        part: The fake quantizer.
    """
    if isinstance(part.scale, nn.Parameter):
        part.scale.requires_grad_(latent_weight(layer).requires_grad)
    earlier = fake_quantizer(layer)
    if earlier is not None:
        parts = _list(layer)
        parts[list(parts).index(earlier)] = part
        return
    kept = layer.weight != 0
    assert isinstance(kept, Tensor)
    if not chain(layer) and not bool(kept.all()):
        set_mask(layer, kept)
    attach(layer, part)


@torch.no_grad()
def set_latent_weight(layer: Layer, weight: Tensor) -> None:
    """Gives the layer's weight other values before it is masked and quantized, in place.

    Args:
        layer: A weight that trains in its own shape: plain, masked or quantized, not shared.
        weight: The values, of the weight's shape.
    """
    latent_weight(layer).copy_(weight)


def _list(layer: Layer) -> nn.ModuleList:
    first = layer.holders[0] if isinstance(layer, Weighted) else Holder(layer, "weight", ("",))
    chains: Any = first.module.parametrizations
    found: nn.ModuleList = chains[first.tensor]
    return found
