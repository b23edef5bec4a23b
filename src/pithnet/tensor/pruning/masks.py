"""Masks: True keeps a weight, False prunes it. Counts are exact, ties included."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pithnet.errors import ModelError
from pithnet.tensor._checks import require_finite, require_nonnegative, require_zero_count
from pithnet.tensor.pruning._selection import BLOCK, blocks, kth_smallest


def keep_mask(scores: Tensor, zeros: int) -> Tensor:
    """Returns a boolean mask of the shape of `scores`, False at exactly `zeros` places: the lowest scores'.

    Between equal scores the lower flat index is pruned first.

    Args:
        scores: Floating point, finite, any shape.
        zeros: From 0 to the number of scores.

    Raises:
        ModelError: A score is NaN or inf, or `scores` is not floating point.
        RecipeError: `zeros` is out of range.
    """
    require_finite(scores, "scores")
    require_zero_count(zeros, scores.numel())
    return lowest_pruned([scores], zeros, [1])[0]


def global_masks(scores: Sequence[Tensor], zeros: int) -> list[Tensor]:
    """Returns one mask per tensor from one ranking over all: exactly `zeros` False in total.

    Between equal scores the earlier tensor, then the lower flat index, is pruned first.

    Args:
        scores: Finite, comparable between tensors (see `criteria.lamp`) and on one device; different dtypes
            are promoted, not rounded.
        zeros: From 0 to the number of all scores.

    Raises:
        ModelError: A score is NaN or inf, a tensor is not floating point, or they are on several devices.
        RecipeError: `zeros` is out of range.
    """
    for position, score in enumerate(scores):
        require_finite(score, f"scores[{position}]")
    require_zero_count(zeros, sum(score.numel() for score in scores))
    devices = {str(score.device) for score in scores}
    if len(devices) > 1:
        raise ModelError(f"scores are on {', '.join(sorted(devices))}: move them to one device.")
    return lowest_pruned(scores, zeros, [1] * len(scores))


def lowest_pruned(scores: Sequence[Tensor], zeros: int, sizes: Sequence[int]) -> list[Tensor]:
    """Returns one mask per tensor from one ranking over all, whose scores stand for `sizes` weights each.

    The ranking is cut where the weights of the False entries are nearest to `zeros` in number, the fewer
    where two cuts are as near. Between equal scores the earlier tensor, then the lower index, goes first.

    Args:
        scores: Finite, on one device.
        zeros: From 0 to the number of weights that all scores stand for.
        sizes: For each tensor how many weights one of its scores stands for.
    """
    if zeros == 0:
        return [torch.ones_like(score, dtype=torch.bool) for score in scores]
    cutoff, below = kth_smallest(scores, zeros, sizes)
    missing = zeros - below  # of the scores equal to the cutoff, the first ones fill up the count
    masks = []
    for score, size in zip(scores, sizes, strict=True):
        mask = torch.empty(score.numel(), dtype=torch.bool, device=score.device)
        for part, block in zip(mask.split(BLOCK), blocks(score, cutoff.dtype), strict=True):
            torch.ge(block, cutoff, out=part)
            if missing:
                equal = (block == cutoff).nonzero().flatten()
                count, missing = _filling(len(equal), size, missing)
                part[equal[:count]] = False
        masks.append(mask.reshape(score.shape))
    return masks


def _filling(available: int, size: int, missing: int) -> tuple[int, int]:
    """How many groups of one size go to come nearest to the missing weights, and what is missing then."""
    whole, rest = divmod(missing, size)
    if available <= whole:
        return available, missing - available * size
    return whole + int(size - rest < rest), 0


def threshold_mask(weight: Tensor, threshold: float) -> Tensor:
    """Returns a boolean mask of the weight's shape, True where |w| > threshold: equals share one fate.

    They are compared in float64: a threshold is not rounded to the weight's dtype.

    Args:
        weight: Floating point, any shape.
        threshold: 0 or more.

    Raises:
        ModelError: A weight is NaN or inf.
        RecipeError: The threshold is negative or not finite.
    """
    require_finite(weight, "weight")
    require_nonnegative(threshold, "threshold")
    mask = torch.empty(weight.numel(), dtype=torch.bool, device=weight.device)
    for part, block in zip(mask.split(BLOCK), blocks(weight, torch.float64), strict=True):
        torch.gt(block.abs(), threshold, out=part)
    return mask.reshape(weight.shape)
