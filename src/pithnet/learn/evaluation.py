"""Accuracy on a set of images, with its uncertainty, alone and against another model on the same images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.errors import DataError
from pithnet.learn.precision import autocast


@dataclass(frozen=True)
class Evaluation:
    """accuracy in [0, 1] of n images, mean cross-entropy `loss` in nats, which images were right: bool
    (n,).
    """

    accuracy: float
    n: int
    loss: float
    correct: Tensor

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95 % Wilson score interval."""
        return wilson(int(self.correct.sum()), self.n)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode within; afterwards every module has its own mode again, also where one was frozen."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def evaluate(model: nn.Module, batches: Iterable[Any], precision: str = "float32") -> Evaluation:
    """Runs `model` in eval mode over (x, y) batches; the modes of its modules are put back afterwards.

    Raises DataError where the batches have no labels or there are none.
    """
    device = next(model.parameters()).device
    right, losses = [], []
    with evaluating(model), torch.inference_mode():
        for x, y, *_ in batches:
            if y is None:
                raise DataError("accuracy needs labels, and this data has none")
            with autocast(device, precision):
                logits = model(x.to(device)).float().cpu()
            right.append(logits.argmax(1) == y.cpu())
            losses.append(F.cross_entropy(logits, y.cpu(), reduction="none"))
    if not right:
        raise DataError("there are no images to evaluate on")
    correct = torch.cat(right)
    return Evaluation(float(correct.double().mean()), len(correct), float(torch.cat(losses).mean()), correct)


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927); z = 1.96 gives 95 %."""
    p, z2 = successes / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(a: Tensor, b: Tensor, z: float = 1.959964) -> tuple[float, float, float]:
    """(difference, low, high) of accuracy b - a on the same images: 95 % Wald interval for paired shares.

    a, b: bool (n,), which images each model gets right. Only images where the two disagree carry information
    (McNemar 1947); the variance is that of the difference of paired proportions.
    """
    n = len(a)
    gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
    difference = (gained - lost) / n
    half = z * math.sqrt(max(gained + lost - (gained - lost) ** 2 / n, 0.0)) / n
    return difference, difference - half, difference + half
