"""Masks of whole groups, such as filters or channels."""

from __future__ import annotations

import torch
from torch import Tensor

from pithnet.tensor._checks import require_finite, require_zero_count


def group_mask(weight: Tensor, dim: int | tuple[int, ...], zeros: int) -> Tensor:
    """Boolean mask of weight's shape: False on whole groups, those of smallest norm; a group spans `dim`.

    As many groups go as bring the number of False nearest to `zeros`, but the best one stays. Between equal
    norms the lower index goes first.

    Raises ModelError for NaN and inf, RecipeError for `zeros` below 0 or above the number of weights.
    """
    require_finite(weight, "weight")
    require_zero_count(zeros, weight.numel())
    norms = torch.linalg.vector_norm(weight.detach(), dim=dim, keepdim=True)
    groups = norms.numel()
    gone = min(round(zeros * groups / max(weight.numel(), 1)), max(groups - 1, 0))
    kept = torch.ones(groups, dtype=torch.bool, device=weight.device)
    kept[norms.flatten().argsort(stable=True)[:gone]] = False
    return kept.view(norms.shape).expand(weight.shape).clone()
