"""Magnitude thresholds of one tensor, for `threshold_mask` (`lab pruning`, item 2)."""

from __future__ import annotations

import math

from torch import Tensor

from pithnet.tensor._checks import require_finite, require_fraction, require_nonempty, require_nonnegative
from pithnet.tensor._selection import kth_smallest


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
    magnitudes = weight.detach().abs()
    # torch.quantile refuses more than 16 M elements and sorts; two order statistics are all it takes.
    position = q * (magnitudes.numel() - 1)
    below = math.floor(position)
    low = kth_smallest([magnitudes], below + 1)[0].item()
    if position == below:
        return low
    high = kth_smallest([magnitudes], below + 2)[0].item()
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
