"""A small compressed network in three forms, and what every training loop must leave as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.surgery import TrainedLevels, parametrization, weighted_layers

STEPS = 50
LEVELS = 4


def plain(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def masks() -> nn.Module:
    model = plain()
    pn.prune(model, 0.6)
    return model


def codebooks() -> nn.Module:
    model = masks()
    pn.share(model, 2)
    return model


def levels() -> nn.Module:
    model = masks()
    pn.LevelTraining(model, levels=LEVELS, rate_weight=0.02)
    return model


FORMS: dict[str, Callable[[], nn.Module]] = {"masks": masks, "codebooks": codebooks, "levels": levels}


def batches(steps: int = STEPS, size: int = 8) -> list[tuple[Tensor, Tensor]]:
    """Pictures of three classes that a small network can tell apart."""
    g = torch.Generator().manual_seed(1)
    y = torch.randint(0, 3, (steps, size), generator=g)
    x = torch.randn(steps, size, 1, 6, 6, generator=g) + y[..., None, None, None]
    return list(zip(x, y, strict=True))


@dataclass(frozen=True)
class Layer:
    """zeros: bool, of the weight's shape. values: its distinct non-zero numbers. buffers: bit for bit."""

    zeros: Tensor
    values: int
    weight: Tensor
    buffers: tuple[Tensor, ...]
    trained: bool


@torch.no_grad()
def layers(model: nn.Module) -> dict[str, Layer]:
    """What each compressed layer of `model` computes with."""
    found = {}
    for name, layer in weighted_layers(model):
        weight = layer.weight.clone()
        fixed = tuple(
            value.clone()
            for key, value in model.state_dict().items()
            if key.startswith(f"{name}.parametrizations") and isinstance(value, Tensor)
            if not value.is_floating_point()
        )
        trained = parametrization(layer, TrainedLevels) is not None
        found[name] = Layer(weight == 0, weight[weight != 0].unique().numel(), weight, fixed, trained)
    assert len(found) == 3
    return found


def assert_kept(before: dict[str, Layer], model: nn.Module, *, moved: bool = True) -> None:
    """Zeros, levels, masks and indexes are those of `before`, bit for bit; the weights are others."""
    after = layers(model)
    for name, old in before.items():
        new = after[name]
        assert torch.equal(new.zeros, old.zeros), f"{name}: other zeros"
        assert not new.weight[new.zeros].view(torch.int32).any(), f"{name}: -0.0"
        assert torch.isfinite(new.weight).all()
        if old.trained:
            # A level may lose its last weight; it may not become two.
            assert new.values <= LEVELS, f"{name}: {new.values} levels"
        else:
            assert new.values == old.values, f"{name}: {old.values} levels became {new.values}"
        assert len(new.buffers) == len(old.buffers) > 0
        assert all(
            torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(new.buffers, old.buffers, strict=True)
        )
        if moved:
            assert not torch.equal(new.weight, old.weight), f"{name}: nothing was learnt"


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether two state_dicts are the same to the bit."""
    x, y = a.state_dict(), b.state_dict()
    return list(x) == list(y) and all(torch.equal(x[k], y[k]) for k in x)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
