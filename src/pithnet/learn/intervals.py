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

    a, b: (n,), the score each model gets on each sample. bool (right or wrong): the Wald interval for paired
    shares; only samples where the two disagree carry information (McNemar 1947), and the variance is that of
    the difference of paired proportions. Any other numbers: the normal interval of the mean of b - a.
    """
    if a.dtype != torch.bool or b.dtype != torch.bool:
        differences = b.double() - a.double()
        return float(differences.mean()), *mean_interval(differences, z)
    n = len(a)
    gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
    difference = (gained - lost) / n
    half = z * math.sqrt(max(gained + lost - (gained - lost) ** 2 / n, 0.0)) / n
    return difference, difference - half, difference + half
