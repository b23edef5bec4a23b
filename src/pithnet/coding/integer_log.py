"""Logarithms in integers alone: what is chosen by them is the same on every processor."""

from __future__ import annotations

from functools import cache

import numpy as np

FRACTION = 16  # bits behind the point of a logarithm
_INDEX = 10  # bits of a number, behind its highest, that its logarithm is looked up by


def log2_fixed(values: np.ndarray) -> np.ndarray:
    """Returns log2 of positive integers in units of 2**-16, up to about 2**-10 below the exact number.

    Args:
        values: Integers, 1 to 2**52.

    Returns:
        int64 of the same shape.
    """
    whole = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1  # exact: of a number below 2**53
    index = np.where(
        whole >= _INDEX, values >> np.maximum(whole - _INDEX, 0), values << np.maximum(_INDEX - whole, 0)
    )
    return (whole << FRACTION) + _table()[index - (1 << _INDEX)]


@cache
def _table() -> np.ndarray:
    """Returns log2(1 + i / 2**10) for i = 0 .. 2**10 - 1, bit by bit, by squaring."""
    value = ((1 << _INDEX) + np.arange(1 << _INDEX, dtype=np.uint64)) << np.uint64(31 - _INDEX)
    found = np.zeros(value.shape, np.int64)
    for _ in range(FRACTION):
        value = value * value >> np.uint64(31)
        above = value >> np.uint64(32)
        found = found << 1 | above.astype(np.int64)
        value >>= above
    return found


def code_length(counts: np.ndarray) -> np.ndarray:
    """Returns the bits, in units of 2**-16, of coding symbols by the distribution that they turn out to have.

    Args:
        counts: (..., symbols) how often each occurs, 2**36 in all at most.

    Returns:
        (...,) int64; nothing is added for the distribution itself.
    """
    total = counts.sum(-1)
    own = (counts * log2_fixed(np.maximum(counts, 1))).sum(-1)
    return total * log2_fixed(np.maximum(total, 1)) - own
