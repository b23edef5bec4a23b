"""95 % intervals: how far a mean measured on n samples may lie from the truth."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_Z = 1.959964  # the normal quantile that gives 95 %


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Returns the score interval of a share (Wilson 1927).

    Args:
        successes: How many of n.
        n: How many in all.
    """
    p, z2 = successes / n, _Z * _Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Tensor) -> tuple[float, float]:
    """Returns the normal interval of a mean: mean -+ 1.96 s / sqrt(n), where s divides by n - 1.

    Args:
        values: (n,), n >= 2.
    """
    mean = float(values.double().mean())
    half = _Z * float(values.double().std()) / math.sqrt(len(values))
    return mean - half, mean + half


def paired_difference(a: Tensor, b: Tensor) -> tuple[float, float, float]:
    """Returns (difference, low, high) of mean b - mean a on the same samples, with the interval of pairs.

    For bool scores (right or wrong) it is the adjusted Wald interval for paired shares (Bonett and Price
    2012), which counts one more sample gained and one more lost, so that it has a width even where the two
    never disagree; the difference itself is the one measured. For any other numbers it is the normal interval
    of the mean of b - a.

    Args:
        a: (n,), the score of one model on each sample.
        b: (n,), that of the other.
    """
    if a.dtype != torch.bool or b.dtype != torch.bool:
        differences = b.double() - a.double()
        return float(differences.mean()), *mean_interval(differences)
    gained, lost, n = int((b & ~a).sum()), int((a & ~b).sum()), len(a) + 2
    centre, disagreeing = (gained - lost) / n, (gained + lost + 2) / n
    half = _Z * math.sqrt((disagreeing - centre**2) / n)
    return (gained - lost) / len(a), max(-1.0, centre - half), min(1.0, centre + half)
