"""Small networks for passes."""

from __future__ import annotations

import torch
from torch import nn


def net(seed: int = 0) -> nn.Module:
    """Three layers of 27, 216 and 360 weights."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Conv2d(3, 8, 3),
        nn.AdaptiveAvgPool2d((3, 3)),
        nn.Flatten(),
        nn.Linear(72, 5, bias=False),
    )


SIZES = {"0": 27, "3": 216, "6": 360}
TOTAL = sum(SIZES.values())


def zeros(model: nn.Module) -> int:
    """Zeros among the weights of `net()`."""
    return sum(int((model[int(name)].weight == 0).sum()) for name in SIZES)
