"""What trainings of small networks reach."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from comparisons import Value, comparison
from pithnet import zoo
from pithnet.data import ArrayData, Batches, Normalization
from pithnet.learn import Trainer, Training
from pithnet.passes import Regularization
from pithnet.surgery import weighted_layers


def digits_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return zoo.build("digits-cnn", width=4)


def random_batches(seed: int = 0) -> Batches:
    """70 random images of ten random classes."""
    g = torch.Generator().manual_seed(seed + 1)
    pixels = torch.randint(0, 256, (70, 1, 8, 8), dtype=torch.uint8, generator=g)
    data = ArrayData(pixels, torch.randint(0, 10, (70,), generator=g))
    return Batches(data, 16, Normalization((0.4,), (0.3,)), shuffle=True, seed=seed + 3)


@comparison
def training_learns(seed: int) -> Iterator[Value]:
    """Six epochs on random labels: the loss of the last beside that of the first."""
    work = Trainer(digits_network(seed), random_batches(seed), Training(6, lr=0.05))
    records = list(work.run())
    yield Value("loss left", records[-1].loss / records[0].loss, 1)


@comparison
def proximal_zeros(seed: int) -> Iterator[Value]:
    """Zeros that proximal steps make by themselves: at least one weight in twenty."""
    model = digits_network(seed)
    schedule = Regularization(model, "l1", strength=0.02)
    _train(model, schedule, seed, epochs=2)
    yield Value("weights left", 1 - _own_share(model, schedule), 0.95)


@comparison
def found_strengths(seed: int) -> Iterator[Value]:
    """A strength found while training makes about the wanted 0.6 of zeros by itself."""
    for kind in ("l1", "l0", "trimmed-l1", "mcp"):
        model = digits_network(seed)
        schedule = Regularization(model, kind, sparsity=0.6, updates=30)
        _train(model, schedule, seed, epochs=8)
        yield Value(kind, abs(_own_share(model, schedule) - 0.6), 0.2)


def _train(model: nn.Module, schedule: Regularization, seed: int, epochs: int) -> None:
    work = Trainer(model, random_batches(seed), Training(epochs, lr=0.05, warmup=0.2), before_step=schedule)
    for _ in work.run():
        pass


def _own_share(model: nn.Module, schedule: Regularization) -> float:
    assert schedule.record is not None
    sizes = [layer.weight.numel() for _, layer in weighted_layers(model)]
    return sum(row.own_zeros or 0 for row in schedule.record.layers) / sum(sizes)
