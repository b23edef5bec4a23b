"""Accuracy and other metrics of a set of samples, with their uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pithnet.errors import DataError
from pithnet.learn.batch import check_labels, check_logits
from pithnet.learn.intervals import mean_interval, wilson

Metric = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """The accuracy of a model on n images.

    Attributes:
        accuracy: In [0, 1].
        n: Number of images.
        loss: The mean cross-entropy in nats, or the mean of a loss of the user's.
        correct: bool (n,), which images were right.
    """

    accuracy: float
    n: int
    loss: float | None
    correct: Tensor

    @property
    def metric(self) -> str:
        """The metric's name, "accuracy"."""
        return "accuracy"

    @property
    def mean(self) -> float:
        """The accuracy."""
        return self.accuracy

    @property
    def scores(self) -> Tensor:
        """The score of every image, bool (n,)."""
        return self.correct

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95 % Wilson score interval."""
        return wilson(int(self.correct.sum()), self.n)

    def __str__(self) -> str:
        low, high = (100 * v for v in self.interval)
        return f"accuracy {100 * self.accuracy:.2f} % (95 % interval {low:.2f} to {high:.2f}), n = {self.n:,}"


@dataclass(frozen=True)
class Scores:
    """The mean of a user's metric over n samples.

    Attributes:
        metric: The metric's name.
        mean: The mean of the scores.
        n: Number of samples.
        loss: The mean of the loss, None where no loss applies.
        scores: (n,), bool where all are 0 or 1, else float64.
    """

    metric: str
    mean: float
    n: int
    loss: float | None
    scores: Tensor

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval: Wilson's for a share, the normal one for any other mean."""
        if self.scores.dtype == torch.bool:
            return wilson(int(self.scores.sum()), self.n)
        return mean_interval(self.scores)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.metric} {self.mean:.6g} (95 % interval {low:.6g} to {high:.6g}), n = {self.n:,}"


def accuracy(outputs: Any, targets: Tensor) -> Tensor:
    """Tells of each sample whether the largest logit is the label's: bool (B,).

    Args:
        outputs: What the model returned, with logits (B, classes).
        targets: int64 (B,).

    Raises:
        ModelError: The outputs hold no class logits.
        DataError: The targets are no labels.
    """
    logits = check_logits(outputs)
    check_labels(targets, *logits.shape)
    return logits.argmax(1) == targets


def metric_name(metric: Metric) -> str:
    """Returns what a metric is called in results: its function's name, "metric" where it has none."""
    function = getattr(metric, "func", metric)
    name = getattr(function, "__name__", type(function).__name__)
    return "metric" if name == "<lambda>" else str(name)


def check_scores(scores: Any, size: int, name: str, number: int) -> Tensor:
    """Returns the scores on the CPU.

    Args:
        scores: What the metric gave.
        size: B.
        name: The metric's name.
        number: The batch's number.

    Raises:
        DataError: The scores are not one finite number per sample, (B,).
    """
    if not isinstance(scores, Tensor) or scores.shape != (size,):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise DataError(
            f"{name} must give a score per sample, a tensor of shape ({size},), and gave {got}; leave "
            "out its mean"
        )
    if not bool(torch.isfinite(scores).all()):
        raise DataError(f"{name} gave NaN or inf in batch {number}; repair the metric or the data")
    return scores.detach().cpu()
