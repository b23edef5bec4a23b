"""Observers that remember extremes alone."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from pithnet.tensor.observers.base import Observer

_MOMENTUM = 0.9


class MinMax(Observer):
    """The smallest and largest value of all: nothing is clipped, and one outlier widens every step."""

    name: ClassVar[str] = "min-max"

    def update(self, x: Tensor, low: float, high: float) -> None:
        pass

    def found(self) -> tuple[float, float]:
        return self.lowest, self.highest


class MovingAverage(Observer):
    """The means of the batches' extremes, the last ones weighing most: x <- 0.9 x + 0.1 new.

    Source: Jacob et al. 2018, section 3.1.
    """

    name: ClassVar[str] = "moving-average"

    def __init__(self, bits: int = 8) -> None:
        super().__init__(bits)
        self.low, self.high = 0.0, 0.0

    def update(self, x: Tensor, low: float, high: float) -> None:
        pace = 1 - _MOMENTUM if self.seen else 1.0
        self.low += pace * (low - self.low)
        self.high += pace * (high - self.high)

    def found(self) -> tuple[float, float]:
        return self.low, self.high
