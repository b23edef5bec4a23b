"""Regularizers that know how many numbers are to stay."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.tensor._checks import require_finite, require_nonnegative
from pithnet.tensor.proximal import group_hard_threshold, hard_threshold, trimmed_soft_threshold
from pithnet.tensor.pruning.largest import Dim, largest, require_count, slice_size
from pithnet.tensor.regularizers.base import Regularizer


@dataclass(frozen=True)
class KeepK(Regularizer):
    """The constraint that every slice has at most k non-zeros; no strength matters.

    The prox is the hard threshold: projected gradient with it is iterative hard thresholding (Blumensath &
    Davies 2009).

    Args:
        strength: Ignored.
        k: Non-zeros per slice, >= 0.
        dim: The dimensions of a slice; None takes the whole tensor.

    Raises:
        RecipeError: k is not a whole number from 0 on.
    """

    name: ClassVar[str] = "keep-k"
    has_subgradient: ClassVar[bool] = False
    is_constraint: ClassVar[bool] = True

    k: int = field(kw_only=True)
    dim: Dim = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self.k)

    def value(self, x: Tensor) -> Tensor:
        """Returns 0 where the constraint holds, else inf."""
        require_finite(x, "x")
        require_count(self.k, slice_size(x.shape, self.dim))
        return _indicator(torch.equal(torch.where(largest(x, self.k, self.dim), x, 0.0), x), x)

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Returns the nearest tensor with at most k non-zeros a slice, whatever the step."""
        require_nonnegative(step, "step")
        return hard_threshold(x, self.k, self.dim)


@dataclass(frozen=True)
class KeepKGroups(Regularizer):
    """The constraint that at most k groups are not zero; no strength matters.

    Args:
        strength: Ignored.
        k: Groups that may stay, >= 0.
        dim: The dimensions that a group spans.

    Raises:
        RecipeError: k is not a whole number from 0 on.
    """

    name: ClassVar[str] = "keep-k-groups"
    has_subgradient: ClassVar[bool] = False
    is_constraint: ClassVar[bool] = True

    k: int = field(kw_only=True)
    dim: int | tuple[int, ...] = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self.k)

    def value(self, x: Tensor) -> Tensor:
        """Returns 0 where the constraint holds, else inf."""
        return _indicator(torch.equal(group_hard_threshold(x, self.k, self.dim), x), x)

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Returns the nearest tensor with at most k non-zero groups, whatever the step."""
        require_nonnegative(step, "step")
        return group_hard_threshold(x, self.k, self.dim)


@dataclass(frozen=True)
class TrimmedL1(Regularizer):
    """The trimmed L1 penalty: strength * sum of all but the k largest |x| of every slice.

    What is among the k largest is free, so nothing kept is biased (Yun, Zheng, Yang, Lozano & Aravkin 2019).

    Args:
        strength: lambda, >= 0.
        k: Numbers per slice that are free.
        dim: The dimensions of a slice; None takes the whole tensor.

    Raises:
        RecipeError: A parameter is out of range.
    """

    name: ClassVar[str] = "trimmed-l1"

    k: int = field(kw_only=True)
    dim: Dim = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count(self.k)

    def value(self, x: Tensor) -> Tensor:
        return self.strength * torch.where(self._free(x), 0.0, x.abs()).sum()

    def subgradient(self, x: Tensor) -> Tensor:
        return self.strength * torch.where(self._free(x), 0.0, x.sign())

    def prox(self, x: Tensor, step: float) -> Tensor:
        require_nonnegative(step, "step")
        return trimmed_soft_threshold(x, step * self.strength, self.k, self.dim)

    def _free(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return largest(x, self.k, self.dim)


def _indicator(holds: bool, x: Tensor) -> Tensor:
    return x.new_tensor(0.0 if holds else math.inf)
