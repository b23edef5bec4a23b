"""Regularizers of whole groups: the filters or channels of a layer, or any other slices of a tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.tensor._checks import require_finite, require_nonnegative
from pithnet.tensor.proximal import group_soft_threshold
from pithnet.tensor.pruning.largest import slice_size
from pithnet.tensor.regularizers.base import Regularizer
from pithnet.tensor.regularizers.hoyer import squared_ratio, squared_ratio_gradient


def group_norms(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Returns the Euclidean norm of every group.

    Args:
        x: Floating point, any shape.
        dim: The dimensions that a group spans; they stay, with size 1.
    """
    return torch.linalg.vector_norm(x, dim=dim, keepdim=True)


def _directions(x: Tensor, norms: Tensor) -> Tensor:
    """Returns x / ||x||, the gradient of the norms; 0 for a group of zeros."""
    return x / torch.where(norms > 0, norms, 1.0)


@dataclass(frozen=True)
class GroupLasso(Regularizer):
    """The group lasso: strength * sum over groups of sqrt(group size) ||x_g||_2 (Yuan & Lin 2006, eq. 2.1).

    The root of the size makes one strength fit groups of any size.

    Args:
        strength: lambda, >= 0.
        dim: The dimensions that a group spans; (1, 2, 3) gives the filters of a convolution (O, I, h, w), (0,
            2, 3) its input channels.
    """

    name: ClassVar[str] = "group-lasso"

    dim: int | tuple[int, ...] = field(kw_only=True)

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self._weight(x) * group_norms(x, self.dim).sum()

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self._weight(x) * _directions(x, group_norms(x, self.dim))

    def prox(self, x: Tensor, step: float) -> Tensor:
        require_nonnegative(step, "step")
        return group_soft_threshold(x, step * self._weight(x), self.dim)

    def _weight(self, x: Tensor) -> float:
        return self.strength * math.sqrt(slice_size(x.shape, self.dim))


@dataclass(frozen=True)
class GroupHoyerSquare(Regularizer):
    """DeepHoyer's Group-HS: strength * (sum_g ||x_g||)^2 / sum_g ||x_g||^2 (Yang, Wen & Li 2020).

    It counts groups and does not depend on their scale; it is 0 for a tensor of zeros.

    Args:
        strength: lambda, >= 0.
        dim: The dimensions that a group spans.
    """

    name: ClassVar[str] = "group-hoyer-square"
    has_prox: ClassVar[bool] = False

    dim: int | tuple[int, ...] = field(kw_only=True)

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * squared_ratio(group_norms(x, self.dim), None)

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        norms = group_norms(x, self.dim)
        return self.strength * squared_ratio_gradient(norms, None) * _directions(x, norms)
