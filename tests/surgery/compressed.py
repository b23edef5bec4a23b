"""A small network, ways to compress it, and a loop that knows nothing of compression."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.passes import LevelTraining, prune, share
from pithnet.surgery import weighted_layers

Compress = Callable[[nn.Module], object]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.Flatten(),
        nn.Linear(8 * 16, 5),
    )


def train_plainly(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """An ordinary loop that knows nothing of compression."""
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(32, 1, 8, 8, generator=g), torch.randint(0, 5, (32,), generator=g)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)


def masked(model: nn.Module) -> None:
    prune(model, 0.6)


def masked_and_shared(model: nn.Module) -> None:
    prune(model, 0.6)
    share(model, 3)


def recoverable(model: nn.Module) -> None:
    prune(model, 0.6, recoverable=True)


def levels(model: nn.Module) -> None:
    prune(model, 0.6)
    LevelTraining(model, levels=5, rate_weight=0.1)


CHAINS: dict[str, Compress] = {
    "mask": masked,
    "recoverable": recoverable,
    "shared": lambda model: share(model, 3),
    "mask then shared": masked_and_shared,
    "levels": lambda model: LevelTraining(model, levels=5),
    "mask then levels": levels,
    "mask, one layer free": lambda model: prune(model, 0.5, skip=("5",)),
    "shared, then levels on top": lambda model: (share(model, 4), LevelTraining(model, levels=3)),
}


def effective(model: nn.Module) -> list[Tensor]:
    return [layer.weight.detach().clone() for _, layer in weighted_layers(model)]
