"""Small networks and smooth images for comparisons of passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    """200 images to calibrate on and 100 others, (N, 3, 8, 8).

    Neighbouring pixels are alike, as in pictures: errors of one weight can be made good by its neighbours.
    """
    noise = torch.randn(300, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    smooth = nn.functional.avg_pool2d(noise, 3, 1) * 2 + 0.5
    return smooth[:200], smooth[200:]


def plain_net(seed: int = 0) -> nn.Module:
    """Three convolutions with BN and a head, with statistics of the images."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=2, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, stride=2, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 6),
    )
    return _settled(model, seed)


class Residual(nn.Module):
    """A block of two convolutions, which the block learner takes as one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.second = nn.Conv2d(12, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (x + self.second(self.norm(self.first(x)).relu())).relu()
        return out


def residual_net(seed: int = 0) -> nn.Module:
    """A stem, a residual block and a head."""
    torch.manual_seed(seed)
    stem = nn.Conv2d(3, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU()
    model = nn.Sequential(*stem, Residual(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 6))
    return _settled(model, seed)


def _settled(model: nn.Module, seed: int) -> nn.Module:
    """With BN statistics of the images, in eval mode, without gradients."""
    seen = torch.cat(images(seed))
    for _ in range(30):
        model(seen)
    return model.eval().requires_grad_(False)


def error(model: nn.Module, reference: nn.Module, x: Tensor) -> float:
    """Mean squared difference of the answers."""
    return float((model(x) - reference(x)).square().mean())
