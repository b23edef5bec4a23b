"""Up or down for each weight of a layer, learned on what the layer computes (AdaRound, Nagel et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.surgery import FakeQuantizer

STEPS = 500
_BATCH = 32
_RATE = 1e-2
_STRETCH = 0.1  # zeta - 1 and -gamma of eq. 23: so that the sigmoid reaches 0 and 1
_WEIGHT = 0.01  # lambda of eq. 21
_WARM = 0.2  # of the steps, before roundings are pressed towards 0 and 1
_SHARPNESS = (20.0, 2.0)  # beta of eq. 24, from the first step to the last


def learn_rounding(
    module: nn.Module, weight: Tensor, part: FakeQuantizer, x: Tensor, steps: int = STEPS, seed: int = 0
) -> Tensor:
    """Returns a weight on its fake quantizer's levels, rounded up or down as the layer's output likes best.

    The least squared difference of the layer's output from that of the weight itself is found by Adam on a
    soft rounding that is pressed towards 0 and 1, with 32 inputs a step. Zeros stay.

    Args:
        module: The layer, a Conv2d or Linear.
        weight: Its weight before quantization.
        part: The fake quantizer, with fixed levels.
        x: All inputs of the layer, (N, ...).
        steps: How many steps to learn.
        seed: Of the choice of inputs.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        low, high, share = _neighbours(part, weight.detach())
        target = _output(module, weight.detach(), x)
        scale = target.var().clamp(min=1e-12)
    soft = ((share + _STRETCH) / (1 + 2 * _STRETCH)).clamp(0.01, 0.99).logit().requires_grad_()
    optimizer = torch.optim.Adam([soft], lr=_RATE)
    for step in range(steps):
        chosen = torch.randint(len(x), (min(_BATCH, len(x)),), generator=generator).to(x.device)
        with torch.enable_grad():
            up = _rounding(soft)
            error = (
                _output(module, low + up * (high - low), x[chosen]) - target[chosen]
            ).square().mean() / scale
            loss = error + _pressure(up, step / steps) / max(soft.numel(), 1)
            (gradient,) = torch.autograd.grad(loss, [soft])
        soft.grad = gradient
        optimizer.step()
    return torch.where(_rounding(soft.detach()) >= 0.5, high, low)


def _rounding(soft: Tensor) -> Tensor:
    """Returns h of eq. 23: 0 rounds down, 1 up."""
    return (soft.sigmoid() * (1 + 2 * _STRETCH) - _STRETCH).clamp(0, 1)


def _pressure(up: Tensor, done: float) -> Tensor:
    """Returns the regularizer of eq. 24, 0 while the rounding warms up."""
    if done < _WARM:
        return up.new_zeros(())
    first, last = _SHARPNESS
    sharpness = last + (first - last) * (1 - (done - _WARM) / (1 - _WARM))
    return _WEIGHT * up.numel() * (1 - (2 * up - 1).abs().pow(sharpness)).mean()


def _neighbours(part: FakeQuantizer, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the levels below and above each weight, and where between them it lies, 0..1.

    All three have the weight's shape.
    """
    rows = part.rows(weight)
    levels, quantizer = part.levels(rows), part.quantizer
    nearest = quantizer.codes(rows, levels)
    below = torch.where(quantizer.values(nearest, levels) > rows, nearest - 1, nearest)
    below = below.clamp(0, max(quantizer.count - 2, 0))
    low = quantizer.values(below, levels)
    high = quantizer.values((below + 1).clamp(max=quantizer.count - 1), levels)
    share = ((rows - low) / torch.where(high > low, high - low, 1.0)).clamp(0, 1)
    parts = (torch.where(rows == 0, 0.0, v) for v in (low, high, share))
    low, high, share = (part.from_rows(v, weight) for v in parts)
    return low, high, share


def _output(module: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
    """Returns what the layer gives with another weight; its parametrizations are left out."""
    bias = module.bias.detach() if isinstance(module.bias, Tensor) else None
    if isinstance(module, nn.Conv2d):
        return module._conv_forward(x, weight, bias)
    return F.linear(x, weight, bias)
