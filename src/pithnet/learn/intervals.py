"""How far a mean measured on n samples may lie from the truth: 95 % intervals."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Z95 = 1.959964


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927); z = 1.96 gives 95 %."""
    p, z2 = successes / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Tensor, z: float = Z95) -> tuple[float, float]:
    """Normal interval of the mean of values (n,): mean -+ z s / sqrt(n), s with n - 1; n >= 2."""
    mean = float(values.double().mean())
    half = z * float(values.double().std()) / math.sqrt(len(values))
    return mean - half, mean + half


def paired_difference(a: Tensor, b: Tensor, z: float = Z95) -> tuple[float, float, float]:
    """(difference, low, high) of mean b - mean a on the same samples, with the 95 % interval of pairs.

    a, b: (n,), the score each model gets on each sample. bool (right or wrong): the adjusted Wald interval
    for paired shares (Bonett and Price 2012), which counts one more sample gained and one more lost, so that
    it has a width even where the two never disagree; the difference itself is the one measured. Any other
    numbers: the normal interval of the mean of b - a.
    """
    if a.dtype != torch.bool or b.dtype != torch.bool:
        differences = b.double() - a.double()
        return float(differences.mean()), *mean_interval(differences, z)
    gained, lost, n = int((b & ~a).sum()), int((a & ~b).sum()), len(a) + 2
    centre, disagreeing = (gained - lost) / n, (gained + lost + 2) / n
    half = z * math.sqrt((disagreeing - centre**2) / n)
    return (gained - lost) / len(a), max(-1.0, centre - half), min(1.0, centre + half)
