"""Activations to unsigned integers: the grid for a range, and a clipping level that learns."""

from __future__ import annotations

import torch
from torch import Tensor


def activation_grid(low: float, high: float, bits: int) -> tuple[float, int]:
    """Returns the grid of the codes 0..2^bits - 1 over a range, widened to hold zero, which is a level.

    The codes are unsigned, because runtimes fuse unsigned activations with signed weights.

    Args:
        low: The lower end of the range.
        high: The upper end.
        bits: Bits per activation.

    Returns:
        The scale, 1 for a range of zero, and the zero point.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    steps = 2**bits - 1
    # In float32, as runtimes divide: a scale rounded afterwards could move the zero point by one.
    scale = float(torch.tensor((high - low) / steps, dtype=torch.float32))
    if scale == 0:
        return 1.0, 0
    return scale, min(max(round(-low / scale), 0), steps)


def on_grid(x: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    """Rounds x to (q - zero_point) * scale, q in 0..2^bits - 1.

    The gradient passes straight inside the range and is none beyond it. The work is done in float32, which is
    all that torch's quantizer takes.

    Args:
        x: Any shape and floating dtype, both of which are kept.
        scale: (), any floating dtype.
        zero_point: (), int32.
        bits: Bits per activation.
    """
    rounded = torch.fake_quantize_per_tensor_affine(x.float(), scale.float(), zero_point, 0, 2**bits - 1)
    return rounded.to(x.dtype)


def pact(x: Tensor, alpha: Tensor, bits: int) -> Tensor:
    """Clips x to [0, alpha] and rounds it to 2^bits levels (PACT, Choi et al. 2018).

    The gradient reaches x straight inside the range, and alpha wherever x is clipped to it (eq. 3). The work
    is done in float32.

    Args:
        x: Any shape and floating dtype, both of which are kept.
        alpha: A scalar > 0, any floating dtype.
        bits: Bits per activation.
    """
    top = alpha.float()
    clipped = torch.minimum(x.float().clamp(min=0), top)
    zero_point = torch.zeros((), dtype=torch.int32, device=x.device)
    rounded = on_grid(clipped.detach(), top.detach() / (2**bits - 1), zero_point, bits)
    return (rounded + (clipped - clipped.detach())).to(x.dtype)
