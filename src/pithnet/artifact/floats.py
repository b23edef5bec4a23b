"""What float32 numbers have in common: levels, a grid, a shorter format. Exact to the bit, numpy only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SIGN = np.uint32(0x80000000)
GRID_SPAN = 65535  # a grid's integers span at most this, so that they are symbols of at most 16 bits
GRID_REACH = 1 << 26  # and are themselves no larger than this


def bits(values: np.ndarray) -> np.ndarray:
    """The float32 numbers as uint32 bit patterns, same shape."""
    return np.ascontiguousarray(values, np.float32).view(np.uint32)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two float32 arrays agree bit for bit (so -0.0 is not 0.0, and NaN is itself)."""
    return a.shape == b.shape and bool(np.array_equal(bits(a), bits(b)))


def levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct float32 bit patterns in ascending numerical order (-0.0 before 0.0), and each value's index
    among them.

    Shapes (K,) and (n,). NaNs sort to the ends by their sign.
    """
    pattern = bits(values)
    key = np.where(pattern & _SIGN, ~pattern, pattern | _SIGN)
    distinct, index = np.unique(key, return_inverse=True)
    return np.where(distinct & _SIGN, distinct ^ _SIGN, ~distinct).astype(np.uint32).view(np.float32), index


def shift(values: np.ndarray) -> int | None:
    """The smallest s for which every value is an integer times 2**-s; None for -0.0, infinities and NaN."""
    pattern = bits(values)
    if bool((pattern == _SIGN).any()) or not bool(np.isfinite(values).all()):
        return None
    nonzero = values[values != 0].astype(np.float64)
    if nonzero.size == 0:
        return 0
    mantissa, exponent = np.frexp(nonzero)
    whole = np.abs(mantissa * (1 << 24)).astype(np.int64)
    lowest = np.frexp((whole & -whole).astype(np.float64))[1] - 1 + exponent - 24
    return -int(lowest.min())


def on_fixed_grid(values: np.ndarray, s: int) -> np.ndarray | None:
    """The int64 q with value = q * 2**-s, or None where they span or reach too far."""
    q = np.ldexp(values.astype(np.float64), s)
    return _integers(q) if _within(q) else None


def grid_scale(distinct: np.ndarray) -> np.float32 | None:
    """A scale with which each of the sorted distinct levels is float32(k) * scale for small integers k, or
    None.

    Tried: the smallest level and the smallest distance between levels, whole or divided by 2, 3, 4, and their
    neighbouring floats (a multiple that was rounded does not divide back exactly).
    """
    if distinct.size < 3 or not bool(np.isfinite(distinct).all()) or bool((bits(distinct) == _SIGN).any()):
        return None
    spacing = float(np.diff(distinct.astype(np.float64)).min())
    smallest = float(np.abs(distinct[distinct != 0]).min())
    with np.errstate(over="ignore", under="ignore"):
        for base in (smallest, spacing):
            for scale in _near(base):
                if scale > 0 and on_grid(distinct, scale) is not None:
                    return scale
    return None


def _near(base: float) -> Iterator[np.float32]:
    for part in (1, 2, 3, 4):
        middle = np.float32(base / part)
        yield from (middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf)))


def on_grid(distinct: np.ndarray, scale: np.float32) -> np.ndarray | None:
    """The int64 k with value = float32(k) * scale exactly, or None."""
    with np.errstate(over="ignore"):
        k = np.rint(distinct.astype(np.float64) / float(scale))
    if not _within(k) or not same(grid_levels(_integers(k), scale), distinct):
        return None
    return _integers(k)


def fixed_levels(q: np.ndarray, s: int) -> np.ndarray:
    """float32 q * 2**-s; infinite where that overflows."""
    with np.errstate(over="ignore"):
        return np.ldexp(q.astype(np.float64), -s).astype(np.float32)


def grid_levels(k: np.ndarray, scale: np.float32) -> np.ndarray:
    """float32(k) * scale, rounded once as float32 arithmetic does."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return k.astype(np.float32) * scale


def _within(q: np.ndarray) -> bool:
    if q.size == 0:
        return True
    low, high = float(q.min()), float(q.max())
    return max(abs(low), abs(high)) <= GRID_REACH and high - low <= GRID_SPAN


def _integers(q: np.ndarray) -> np.ndarray:
    return np.asarray(q).astype(np.int64)


def as_half(values: np.ndarray) -> np.ndarray | None:
    """The values as float16 where that is exact to the bit, else None."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        half = values.astype(np.float16)
    return half if same(half.astype(np.float32), values) else None
