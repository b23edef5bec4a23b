"""Yardsticks of the labs and the tests: what a code can cost at best, and what a given code costs."""

from __future__ import annotations

import numpy as np


def entropy_bits(frequencies: np.ndarray) -> float:
    """Returns the order-0 entropy of a histogram in bits per symbol.

    Args:
        frequencies: Non-negative counts of any shape; an empty histogram has entropy 0.0.
    """
    counts = np.asarray(frequencies, np.float64).ravel()
    counts = counts[counts > 0]
    if counts.size < 2:
        return 0.0
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def average_length(frequencies: np.ndarray, lengths: np.ndarray) -> float:
    """Returns the mean length of a code in bits per symbol, 0.0 for an empty histogram.

    Args:
        frequencies: Counts of the symbols, of any shape.
        lengths: Bits of each symbol's code, of the same shape.
    """
    counts = np.asarray(frequencies, np.float64)
    total = counts.sum()
    return float((counts * np.asarray(lengths)).sum() / total) if total else 0.0
