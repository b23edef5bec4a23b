"""What a code can cost at best, and what a given code costs: the yardsticks of the labs and the tests."""

from __future__ import annotations

import numpy as np


def entropy_bits(frequencies: np.ndarray) -> float:
    """Order-0 entropy in bits per symbol of a histogram (any non-negative counts; 0.0 for an empty one)."""
    counts = np.asarray(frequencies, np.float64).ravel()
    counts = counts[counts > 0]
    if counts.size < 2:
        return 0.0
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def average_length(frequencies: np.ndarray, lengths: np.ndarray) -> float:
    """Mean code length in bits per symbol of a code with these `lengths` on a histogram of the same shape."""
    counts = np.asarray(frequencies, np.float64)
    total = counts.sum()
    return float((counts * np.asarray(lengths)).sum() / total) if total else 0.0
