"""The probabilities of `kernels`: densities of channels in classes, numbers per kernel, four parameters."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from math import ldexp
from typing import NamedTuple

import numpy as np

from pithnet.coding.rans import TOTAL, Decoder, Encoder

SPREADS = (3.0, 4.0, 6.0, 8.0, 11.0, 16.0, 28.0, 80.0)  # a + b of the beta distribution: small is uneven
ATTRACTIONS = (3, 4, 5, 6, 7, 8, 10, 12)  # likelihood factor per pair of neighbours, in quarters
STRENGTHS = (40.0, 150.0, 600.0, 4000.0)  # weights the overall density counts for, in a row's or column's
START = 300.0  # weights the header's density counts for, in the overall one
ROW_STEP = 4  # kernels between updates of the row's density
ABSOLUTE, RELATIVE = 60, 24  # classes of odds, quarter octaves, on each side of 1


# 2**52 * 2**(i / 8) for i = 0 .. 7: numbers of the format, the same in a library that rounds otherwise.
_EIGHTHS = (
    *(4_503_599_627_370_496, 4_911_210_218_475_899, 5_355_712_719_992_597, 5_840_446_135_085_607),
    *(6_369_051_672_525_773, 6_945_500_098_633_947, 7_574_121_564_787_630, 8_259_638_134_547_591),
)


def _power(eighths: int) -> float:
    """Returns 2**(eighths / 8); the table's number times a power of two, which is exact."""
    return ldexp(_EIGHTHS[eighths % 8], eighths // 8 - 52)


def _grid(n: int) -> list[float]:
    """Returns the class borders 2**((k + 1/2) / 4) for k = -n .. n - 1."""
    return [_power(2 * k + 1) for k in range(-n, n)]


ABSOLUTE_GRID, RELATIVE_GRID = _grid(ABSOLUTE), _grid(RELATIVE)
_ABSOLUTE_ARRAY, _RELATIVE_ARRAY = np.array(ABSOLUTE_GRID), np.array(RELATIVE_GRID)


def _class_odds(k: int) -> float:
    """Returns 2**(k / 4)."""
    return _power(2 * k)


def _density(odds: float) -> float:
    return odds / (1.0 + odds)


class Parameters(NamedTuple):
    """What a stream begins with.

    Attributes:
        start: The class of the odds of a weight being non-zero, before anything is coded.
        spread: An index into SPREADS.
        attraction: An index into ATTRACTIONS.
        strength: An index into STRENGTHS.
    """

    start: int
    spread: int = 0
    attraction: int = 0
    strength: int = 0

    def density(self) -> float:
        """Returns the density, in 0..1, that the class `start` stands for."""
        return _density(_class_odds(self.start - ABSOLUTE))

    def put(self, out: Encoder) -> None:
        """Appends the parameters to a stream."""
        for value, width in zip(self, _WIDTHS, strict=True):
            out.put_field(value, width)

    @classmethod
    def get(cls, stream: Decoder) -> Parameters:
        """Reads the parameters from a stream."""
        return cls(*(stream.field(width) for width in _WIDTHS))


_WIDTHS = (7, 3, 3, 2)  # bits of the parameters


def start_class(density: float) -> int:
    """Returns the class of a density in 0..1."""
    return bisect_right(ABSOLUTE_GRID, density / (1.0 - density)) if density < 1.0 else 2 * ABSOLUTE


class CountModel(NamedTuple):
    """Intervals of the number of non-zeros in a block, in every context.

    Attributes:
        starts: (contexts, numbers) where each interval begins.
        freqs: (contexts, numbers) how wide it is.
        rows: The same for the hot loop, by context: the ends of the intervals, and (freq, start, number) of
            each.
        nones: Where the interval of 0 ends, by context.
        fulls: Where the interval of the largest number begins, by context.
    """

    starts: np.ndarray
    freqs: np.ndarray
    rows: list[tuple[list[int], list[tuple[int, int, int]]]]
    nones: list[int]
    fulls: list[int]


@lru_cache(maxsize=128)
def count_model(bits: int, spread: int) -> CountModel:
    """Returns beta-binomial intervals in every context (ABSOLUTE + RELATIVE classes).

    Args:
        bits: Weights per block.
        spread: An index into SPREADS.
    """
    edge = ABSOLUTE + RELATIVE
    p = np.array([_density(_class_odds(k)) for k in range(-edge, edge + 1)])
    total = SPREADS[spread]
    pmf = np.ones((len(p), bits + 1))
    for n in range(bits + 1):
        for j in range(n):
            pmf[:, n] *= (p * total + j) / (total + j) * (bits - j) / (j + 1)
        for j in range(bits - n):
            pmf[:, n] *= ((1.0 - p) * total + j) / (total + n + j)
    freqs = 1 + (pmf * (TOTAL - bits - 2)).astype(np.int64)
    freqs[np.arange(len(p)), freqs.argmax(1)] += TOTAL - freqs.sum(1)
    starts = np.cumsum(freqs, 1) - freqs
    rows = [
        (start[1:], list(zip(freq, start, range(bits + 1), strict=True)))
        for start, freq in zip(starts.tolist(), freqs.tolist(), strict=True)
    ]
    return CountModel(starts, freqs, rows, freqs[:, 0].tolist(), starts[:, -1].tolist())


def overall_density(ones: np.ndarray, seen: np.ndarray | int, start: float) -> np.ndarray:
    """Returns the density of all kernels so far.

    Args:
        ones: Non-zero weights so far.
        seen: Weights so far.
        start: The density assumed before the first.
    """
    return (ones + START * start) / (seen + START)


def column_classes(ones: np.ndarray, seen: np.ndarray | int, p: np.ndarray, strength: float) -> np.ndarray:
    """Returns the class of each input channel's density.

    Args:
        ones: Non-zero weights of each input channel so far.
        seen: Weights of each input channel so far.
        p: The density of all kernels so far.
        strength: How many weights' worth of evidence p counts for.
    """
    return np.searchsorted(_ABSOLUTE_ARRAY, _odds(ones, seen, p, strength), side="right")


def row_classes(ones: np.ndarray, seen: np.ndarray, p: np.ndarray, strength: float) -> np.ndarray:
    """Returns the class of the odds of an output channel so far, relative to those of all.

    Args:
        ones: Non-zero weights of the output channel so far.
        seen: Weights of the output channel so far.
        p: The density of all kernels so far.
        strength: How many weights' worth of evidence p counts for.
    """
    ratio = _odds(ones, seen, p, strength) / (p / (1.0 - p))
    return np.searchsorted(_RELATIVE_ARRAY, ratio, side="right")


def _odds(ones: np.ndarray, seen: np.ndarray | int, p: np.ndarray, strength: float) -> np.ndarray:
    return (ones + strength * p) / (seen - ones + strength * (1.0 - p))
