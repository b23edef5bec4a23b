"""Quantized networks as `deploy` gets them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from pithnet.passes import quantize
from pithnet.surgery import ActivationQuantizer
from pithnet.tensor.observers import get_observer


def quantized(model: nn.Module, images: Tensor, bits: int = 8) -> nn.Module:
    """A copy with `bits`-bit weights and 8-bit activations, calibrated on float32 images (N, C, H, W)."""
    found = copy.deepcopy(model).eval()
    quantize(found, bits, activations=8, observer="min-max", calibrate=images, fit="range")
    return found


def settled(scale: float, zero_point: int, bits: int = 8) -> ActivationQuantizer:
    """A quantizer of activations with a grid given by hand."""
    quantizer = ActivationQuantizer(bits, get_observer("min-max"), "here")
    quantizer.observer = None
    quantizer.scale.fill_(scale)
    quantizer.zero_point.fill_(zero_point)
    return quantizer


@torch.no_grad()
def round_(weight: Tensor) -> None:
    """Rounds to 8-bit symmetric levels per output channel, in place."""
    step = weight.flatten(1).abs().amax(1).view(-1, *[1] * (weight.ndim - 1)) / 127
    weight.copy_((weight / step).round() * step)
