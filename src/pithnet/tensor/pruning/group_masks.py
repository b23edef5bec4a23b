"""Masks of whole groups, such as filters or channels, and of N in every M neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.tensor._checks import require_finite, require_zero_count
from pithnet.tensor.pruning.masks import lowest_pruned

Dims = tuple[int, ...]


def group_mask(weight: Tensor, dim: int | tuple[int, ...], zeros: int) -> Tensor:
    """Returns a boolean mask of the weight's shape, False on whole groups: those of smallest norm.

    As many groups go as bring the number of False nearest to `zeros`, but the best one stays. Between equal
    norms the lower index goes first.

    Args:
        weight: Floating point, any shape.
        dim: The axis or the axes that one group spans.
        zeros: From 0 to the number of weights.

    Raises:
        ModelError: A weight is NaN or inf.
        RecipeError: `zeros` is out of range.
    """
    require_finite(weight, "weight")
    require_zero_count(zeros, weight.numel())
    norms = torch.linalg.vector_norm(weight.detach(), dim=dim, keepdim=True)
    groups = norms.numel()
    gone = min(round(zeros * groups / max(weight.numel(), 1)), max(groups - 1, 0))
    kept = torch.ones(groups, dtype=torch.bool, device=weight.device)
    kept[norms.flatten().argsort(stable=True)[:gone]] = False
    return kept.view(norms.shape).expand(weight.shape).clone()


def group_masks(scores: Sequence[Tensor], dims: Sequence[Dims], zeros: int) -> list[Tensor]:
    """Returns one mask per tensor from one ranking over the groups of all: the lowest mean scores go.

    Groups go in ascending order of their mean, the earlier tensor and the lower index first between equals,
    and the ranking is cut where the weights in the groups that go are nearest to `zeros` in number, the fewer
    where two cuts are as near. Where all groups have one size, that is round(zeros / size) groups.

    A score below 0 stands for a weight that is gone already. It counts as 0 in the mean; a group of nothing
    else goes before all others; and in a group that is kept for the sake of other weights it stays False.

    Args:
        scores: Floating point, finite, on one device.
        dims: For each tensor the axes that one group spans; () where each entry is a group.
        zeros: From 0 to the number of all scores.

    Raises:
        ModelError: A score is NaN or inf, or not floating point.
        RecipeError: `zeros` is out of range.
    """
    for position, score in enumerate(scores):
        require_finite(score, f"scores[{position}]")
    require_zero_count(zeros, sum(score.numel() for score in scores))
    means = [_group_means(score, spanned) for score, spanned in zip(scores, dims, strict=True)]
    sizes = [score.numel() // max(mean.numel(), 1) for score, mean in zip(scores, means, strict=True)]
    kept = lowest_pruned(means, zeros, sizes)
    return [_spread(part, score, spanned) for part, score, spanned in zip(kept, scores, dims, strict=True)]


def _group_means(score: Tensor, dims: Dims) -> Tensor:
    """The groups' scores: means in float64, with axes of size 1 for those spanned; -1 where all is gone."""
    if not dims:
        return score
    means = score.clamp(min=0).mean(dims, keepdim=True, dtype=torch.float64)
    return means.masked_fill_((score < 0).all(dims, keepdim=True), -1.0)


def _spread(kept: Tensor, score: Tensor, dims: Dims) -> Tensor:
    """The mask of weights for the mask of groups; what is gone in a group that is not gone stays False."""
    if not dims:
        return kept
    gone = score < 0
    return kept & ~(gone & ~gone.all(dims, keepdim=True))


def n_of_m_mask(scores: Tensor, n: int, m: int, dim: int) -> Tensor:
    """Returns a mask, True at the n highest scores of every m neighbours (Mishra et al. 2021, for 2:4).

    Groups begin at index 0. A shorter one at the end keeps as many, or all that it has if these are fewer: no
    group keeps more than n. Between equal scores the lower index is pruned first.

    Args:
        scores: Floating point, finite, any shape.
        n: How many of a group stay, from 1 to m - 1.
        m: How many neighbours are a group.
        dim: The axis along which they are neighbours.

    Raises:
        ModelError: A score is NaN or inf, or not floating point.
        RecipeError: n is not between 1 and m - 1.
    """
    require_finite(scores, "scores")
    if not 1 <= n < m:
        raise RecipeError(f"{n} of every {m} weights cannot be kept; take N from 1 to M - 1, as in 2:4")
    moved = scores.movedim(dim, -1)
    length = moved.shape[-1]
    whole = math.ceil(length / m) * m
    # What fills up the last group goes before every score in it.
    groups = F.pad(moved, (0, whole - length), value=-math.inf).unflatten(-1, (whole // m, m))
    gone = groups.argsort(dim=-1, stable=True)[..., : m - n]
    mask = torch.ones_like(groups, dtype=torch.bool).scatter_(-1, gone, False)
    return mask.flatten(-2)[..., :length].movedim(-1, dim).contiguous()
