"""Observers that keep a histogram and choose what to clip: tails, squared error, or information lost."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.tensor.observers.base import Observer

BINS = 2048  # on each side of zero
_CANDIDATES = 100
_NARROWEST = 0.3
_KEPT = 0.9999


class Histogram(Observer):
    """An observer that counts in 2048 equal bins each side of zero.

    The bins widen by powers of two when values outgrow them.
    """

    def __init__(self, bits: int = 8) -> None:
        super().__init__(bits)
        # Below and above zero, both from zero outwards.
        self.counts = torch.zeros(2, BINS, dtype=torch.float64)
        self.reach = 0.0

    @property
    def low(self) -> float:
        """The smallest value so far, 0 where none is negative."""
        return min(0.0, self.lowest)

    @property
    def high(self) -> float:
        """The largest value so far, 0 where none is positive."""
        return max(0.0, self.highest)

    def update(self, x: Tensor, low: float, high: float) -> None:
        top = max(-low, high)
        if not self.reach:
            self.reach = top
        while self.reach and top > self.reach:
            merged = self.counts.view(2, -1, 2).sum(2)
            self.counts = torch.cat([merged, torch.zeros_like(merged)], dim=1)
            self.reach *= 2
        reach = self.reach or 1.0  # all values so far are zero: any bins will do
        found = torch.histc(x.float(), 2 * BINS, -reach, reach).double().cpu().view(2, BINS)
        self.counts += torch.stack([found[0].flip(0), found[1]])

    def found(self) -> tuple[float, float]:
        return self.chosen() if self.reach else (0.0, 0.0)

    @abstractmethod
    def chosen(self) -> tuple[float, float]:
        """Returns the range, where there are values other than zero; for subclasses."""

    @property
    def centers(self) -> Tensor:
        """Returns the middles of the bins of either side, (2048,), as distances from zero."""
        return (torch.arange(BINS, dtype=torch.float64) + 0.5) * (self.reach / BINS)


class Percentile(Histogram):
    """A range that clips the outermost values, one in 10,000, half on each side where both have any."""

    name: ClassVar[str] = "percentile"

    def chosen(self) -> tuple[float, float]:
        total, sides = float(self.counts.sum()), 2 if self.low < 0 < self.high else 1
        cut = (1 - _KEPT) * total / sides
        below, above = (self._edge(side, cut) for side in self.counts)
        return max(self.low, -below), min(self.high, above)

    def _edge(self, side: Tensor, cut: float) -> float:
        """Returns the outer edge of the innermost bin beyond which at most `cut` values lie."""
        beyond = side.sum() - side.cumsum(0)
        bins = int((beyond > cut).sum()) + 1
        return bins * self.reach / BINS if float(side.sum()) > cut else 0.0


class HistogramMSE(Histogram):
    """The range of least mean squared error of rounding and clipping together."""

    name: ClassVar[str] = "mse"

    def chosen(self) -> tuple[float, float]:
        shares = torch.linspace(_NARROWEST, 1, _CANDIDATES, dtype=torch.float64)
        low, high = self.low, self.high
        # One end after the other; the second end is chosen for the first one's best, and once more around.
        for _ in range(2):
            if self.high > 0:
                high = float(self._best([(low, float(s) * self.high) for s in shares])[1])
            if self.low < 0:
                low = float(self._best([(float(s) * self.low, high) for s in shares])[0])
        return low, high

    def _best(self, ranges: list[tuple[float, float]]) -> tuple[float, float]:
        values = torch.cat([-self.centers, self.centers])
        bounds = torch.tensor(ranges, dtype=torch.float64)
        low, high = bounds[:, :1], bounds[:, 1:]
        step = (high - low).clamp(min=1e-300) / (2**self.bits - 1)
        zero = (-low / step).round()
        codes = ((values / step).round() + zero).clamp(0, 2**self.bits - 1)
        errors = ((codes - zero) * step - values).square() @ self.counts.view(-1)
        return ranges[int(errors.argmin())]


class Entropy(Histogram):
    """The threshold on magnitudes, one for both signs, that loses least information (Migacz 2017).

    The loss is the Kullback-Leibler divergence of the clipped histogram from the same one seen through the
    quantizer's levels.
    """

    name: ClassVar[str] = "entropy"

    def chosen(self) -> tuple[float, float]:
        counts = self.counts.sum(0)
        levels = 2**self.bits if self.low >= 0 else 2 ** (self.bits - 1)
        last = int(counts.nonzero().max()) + 1
        tried = torch.linspace(max(_NARROWEST * last, min(levels, last)), last, _CANDIDATES).round().int()
        ends = sorted(set(tried.tolist()))
        best = min(ends, key=lambda end: (_divergence(counts, end, levels), -end))
        threshold = best * self.reach / BINS
        return max(self.low, -threshold), min(self.high, threshold)


def _divergence(counts: Tensor, end: int, levels: int) -> float:
    """Returns the KL divergence, in nats, of the first `end` bins from their means over `levels` intervals.

    The intervals are equal; what lies beyond `end` is counted in the last bin.
    """
    clipped = counts[:end].clone()
    clipped[-1] += counts[end:].sum()
    place = torch.arange(end) * levels // end
    seen = (counts[:end] > 0).double()
    sums = torch.zeros(levels, dtype=torch.float64).index_add_(0, place, counts[:end])
    used = torch.zeros(levels, dtype=torch.float64).index_add_(0, place, seen)
    through = (sums / used.clamp(min=1))[place] * seen
    kept = clipped > 0
    p = clipped[kept] / clipped.sum()
    q = (through[kept] / through.sum().clamp(min=1e-300)).clamp(min=1e-12)
    return float((p * (p / q).log()).sum())
