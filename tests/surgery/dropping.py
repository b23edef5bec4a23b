"""Networks that do something else in train mode than in eval mode, as public repositories build them."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DropPath(nn.Module):
    """Leaves out a branch for some of the samples (Huang et al. 2016)."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if self.p == 0.0 or not self.training:
            return x
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p)


def stochastic_depth(x: Tensor, p: float, training: bool) -> Tensor:
    """As torchvision's: a function that is told the mode."""
    if not training or p == 0.0:
        return x
    return x * torch.empty(x.shape[0], 1, 1, 1).bernoulli_(1 - p) / (1 - p)


class StochasticDepth(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return stochastic_depth(x, 0.5, self.training)


class DropBlock(nn.Module):
    """Leaves out squares of the maps (Ghiasi et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        holes = F.max_pool2d((torch.rand_like(x) < 0.1).to(x.dtype), 3, 1, 1)
        return x * (1 - holes)


class LayerDrop(nn.Module):
    """Leaves out the whole branch, by a number drawn in Python."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0 if self.training and random.random() < 0.5 else x


class FunctionalDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, self.training)


DROPS = {kind.__name__: kind for kind in (DropPath, StochasticDepth, DropBlock, LayerDrop, FunctionalDropout)}


class Residual(nn.Module):
    """A residual network with what drops its branch, and a BN that is folded."""

    def __init__(self, drop: nn.Module) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.drop, self.head = nn.Conv2d(4, 4, 3, padding=1), drop, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv1(x)))
        x = F.relu(self.drop(self.conv2(x)) + x)
        out: Tensor = self.head(x.mean((2, 3)))
        return out


def residual(drop: nn.Module) -> Residual:
    """Always the same one, in eval mode, with statistics of some data."""
    torch.manual_seed(0)
    model = Residual(drop)
    model.bn.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    model.bn.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model.eval()


def images(n: int = 16) -> Tensor:
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(5))
