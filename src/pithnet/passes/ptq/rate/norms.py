"""What rounding does to the means and deviations of channels, made good by the BN or the bias behind."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

_LEAST, _MOST = 0.2, 3.0  # of the ratios of deviations that are made good
_TINY = 1e-10


def deviation_ratio(expected: Tensor, found: Tensor) -> Tensor:
    """Returns by what deviations are multiplied to be the expected ones, (C,), within limits.

    Args:
        expected: (C,), variances.
        found: (C,), variances; where either is next to nothing, the ratio is 1.
    """
    known = (expected > _TINY) & (found > _TINY)
    ratio = (expected / torch.where(known, found, 1.0)).sqrt().clamp(_LEAST, _MOST)
    return torch.where(known, ratio, 1.0)


@torch.no_grad()
def follow_(norm: _BatchNorm, scale: Tensor, before: Tensor, now: Tensor) -> None:
    """Changes a BN, in place, so that it gives for (x - now) * scale + before what it gives for x now.

    It is done by the statistics, so that a BN in train mode, which takes them anew, still gives what it gave.

    Args:
        norm: The BN, with statistics.
        scale: (C,), positive.
        before: (C,).
        now: (C,).
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    wanted = (norm.running_var.double() + norm.eps) / scale.double().square()
    variance = (wanted - norm.eps).clamp(min=0)
    norm.running_mean.copy_((norm.running_mean - before) / scale + now)
    norm.running_var.copy_(variance)
    if norm.affine:  # where the variance would be negative, its factor makes up for the rest
        norm.weight.mul_(((variance + norm.eps) / wanted).sqrt())
