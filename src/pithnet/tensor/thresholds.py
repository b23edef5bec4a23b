"""Magnitude thresholds of one tensor, for `threshold_mask` (`lab pruning`, item 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pithnet.tensor._checks import require_finite, require_fraction, require_nonempty, require_nonnegative


def percentile_threshold(weight: Tensor, q: float) -> float:
    """The q-quantile of |w|, q in [0, 1], interpolated linearly between order statistics (numpy's default).

    A mask from it prunes what is <= the threshold: the smallest weight even at q = 0, and all of a run of
    equal magnitudes. Where the count must be exact use `keep_mask(weight.abs(), round(q * weight.numel()))`.

    Raises:
        ModelError: empty, or a weight is NaN or inf.
        RecipeError: q outside [0, 1].
    """
    require_fraction(q, "q")
    require_nonempty(weight, "weight")
    require_finite(weight, "weight")
    magnitudes = weight.detach().abs().flatten()
    # torch.quantile refuses more than 16 M elements and sorts; two order statistics are all it takes.
    position = q * (magnitudes.numel() - 1)
    below = math.floor(position)
    low = torch.kthvalue(magnitudes, below + 1).values.item()
    if position == below:
        return low
    high = torch.kthvalue(magnitudes, below + 2).values.item()
    return low + (high - low) * (position - below)


def std_threshold(weight: Tensor, s: float) -> float:
    """s * std(w), s >= 0; the population's standard deviation around the mean, computed in float64.

    Raises:
        ModelError: empty, or a weight is NaN or inf.
        RecipeError: s negative or not finite.
    """
    require_nonnegative(s, "s")
    require_nonempty(weight, "weight")
    require_finite(weight, "weight")
    return s * weight.detach().double().std(correction=0).item()
