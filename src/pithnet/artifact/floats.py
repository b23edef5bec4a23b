"""Properties of float32 numbers, exact to the bit: their levels, a grid, a shorter format. numpy only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 18  # numbers worked on at a time where there may be very many

SIGN = np.uint32(0x80000000)  # the bit pattern of -0.0
GRID_SPAN = 65535  # a grid's integers span at most this, so that they are symbols of at most 16 bits
GRID_REACH = 1 << 26  # and are themselves no larger than this


def bits(values: np.ndarray) -> np.ndarray:
    """Returns the float32 numbers as uint32 bit patterns, of the same shape."""
    return np.ascontiguousarray(values, np.float32).view(np.uint32)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Tells whether two float32 arrays agree bit for bit (so -0.0 is not 0.0, and NaN is itself)."""
    return a.shape == b.shape and bool(np.array_equal(bits(a), bits(b)))


def levels(values: np.ndarray, most: int = 1 << 31) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the distinct bit patterns of float32 values, and each value's index among them.

    NaNs sort to the ends by their sign.

    Args:
        values: (n,) float32.
        most: The most levels that are of use.

    Returns:
        The levels (K,), ascending in value (-0.0 before 0.0), and the indices (n,) in the smallest unsigned
        type; None where there are more than `most`.
    """
    distinct = np.zeros(0, np.uint32)
    for block in blocks(values):
        distinct = np.union1d(distinct, keys(block))
        if distinct.size > most:
            return None
    index = np.empty(values.size, np.min_scalar_type(max(distinct.size - 1, 0)))
    for at, block in zip(range(0, values.size, BLOCK), blocks(values), strict=True):
        index[at : at + BLOCK] = np.searchsorted(distinct, keys(block))
    ordered = np.where(distinct & SIGN, distinct ^ SIGN, ~distinct).astype(np.uint32)
    return ordered.view(np.float32), index


def keys(values: np.ndarray) -> np.ndarray:
    """Returns uint32 in the order of the values: -0.0 before 0.0, NaNs at the ends by their sign."""
    pattern = bits(values)
    return np.where(pattern & SIGN, ~pattern, pattern | SIGN)


def blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yields a flat array, BLOCK numbers at a time."""
    return (values[at : at + BLOCK] for at in range(0, values.size, BLOCK))


def look_up(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Returns table[index] for a flat index: numpy alone would copy that whole as 64-bit integers first."""
    out = np.empty(index.size, table.dtype)
    for at, block in zip(range(0, index.size, BLOCK), blocks(index), strict=True):
        np.take(table, block, out=out[at : at + BLOCK])
    return out


def shift(values: np.ndarray) -> int | None:
    """Returns the smallest s for which every value is an integer times 2**-s; None for -0.0, inf and NaN."""
    pattern = bits(values)
    if bool((pattern == SIGN).any()) or not bool(np.isfinite(values).all()):
        return None
    nonzero = values[values != 0].astype(np.float64)
    if nonzero.size == 0:
        return 0
    mantissa, exponent = np.frexp(nonzero)
    whole = np.abs(mantissa * (1 << 24)).astype(np.int64)
    lowest = np.frexp((whole & -whole).astype(np.float64))[1] - 1 + exponent - 24
    return -int(lowest.min())


def on_fixed_grid(values: np.ndarray, s: int) -> np.ndarray | None:
    """Returns the int64 q with value = q * 2**-s, or None where they span or reach too far.

    Args:
        values: (n,) float32.
        s: As `shift` gives it.
    """
    q = np.ldexp(values.astype(np.float64), s)
    return _integers(q) if _within(q) else None


def grid_scale(distinct: np.ndarray) -> np.float32 | None:
    """Returns a scale by which each distinct level is float32(k) * scale for small integers k, or None.

    What is tried are the smallest level and the smallest distance between levels, whole or divided by 2, 3,
    4, and their neighbouring floats (a multiple that was rounded does not divide back exactly).

    Args:
        distinct: (K,) float32 in ascending order.
    """
    if distinct.size < 3 or not bool(np.isfinite(distinct).all()) or bool((bits(distinct) == SIGN).any()):
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
    """Returns the int64 k with value = float32(k) * scale exactly, or None.

    Args:
        distinct: (K,) float32.
        scale: > 0.
    """
    with np.errstate(over="ignore"):
        k = np.rint(distinct.astype(np.float64) / float(scale))
    if not _within(k) or not same(grid_levels(_integers(k), scale), distinct):
        return None
    return _integers(k)


def fixed_levels(q: np.ndarray, s: int) -> np.ndarray:
    """Returns float32 q * 2**-s, which is infinite where that overflows."""
    with np.errstate(over="ignore"):
        return np.ldexp(q.astype(np.float64), -s).astype(np.float32)


def grid_levels(k: np.ndarray, scale: np.float32 | np.ndarray) -> np.ndarray:
    """Returns float32(k) * scale, rounded once as float32 arithmetic does, by one scale or one for each k."""
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
    """Returns the values as float16 where that is exact to the bit, else None."""
    half = np.empty(values.size, np.float16)
    for at, block in zip(range(0, values.size, BLOCK), blocks(values), strict=True):
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            half[at : at + BLOCK] = block
        if not same(half[at : at + BLOCK].astype(np.float32), block):
            return None
    return half
