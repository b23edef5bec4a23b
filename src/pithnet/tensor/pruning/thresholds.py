"""The magnitude threshold of one tensor, for `threshold_mask` (`prune_by_std`)."""

from __future__ import annotations

from torch import Tensor

from pithnet.tensor._checks import require_finite, require_nonempty, require_nonnegative


def std_threshold(weight: Tensor, s: float) -> float:
    """Returns s * std(w), the population's standard deviation around the mean, computed in float64.

    Args:
        weight: Floating point, any shape.
        s: 0 or more.

    Raises:
        ModelError: The tensor is empty, or a weight is NaN or inf.
        RecipeError: s is negative or not finite.
    """
    require_nonnegative(s, "s")
    require_nonempty(weight, "weight")
    require_finite(weight, "weight")
    return s * weight.detach().double().std(correction=0).item()
