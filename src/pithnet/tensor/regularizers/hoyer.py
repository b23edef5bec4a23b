"""Regularizers by a ratio of norms: sparse in the sense of Hoyer 2004, whatever the scale of the numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.tensor._checks import require_finite
from pithnet.tensor.pruning.largest import Dim
from pithnet.tensor.regularizers.base import Regularizer


def _sums(x: Tensor, dim: Dim) -> tuple[Tensor, Tensor]:
    """Returns sum |x| and sum x^2 of every slice; the latter is 1 for zeros, so that 0 / 0 becomes 0."""
    axes = tuple(range(x.ndim)) if dim is None else dim
    squares = x.square().sum(axes, keepdim=True)
    return x.abs().sum(axes, keepdim=True), torch.where(squares > 0, squares, 1.0)


def squared_ratio(x: Tensor, dim: Dim) -> Tensor:
    """Returns the sum over the slices along `dim` of (sum |x|)^2 / sum x^2, a scalar."""
    total, squares = _sums(x, dim)
    return (total.square() / squares).sum()


def squared_ratio_gradient(x: Tensor, dim: Dim) -> Tensor:
    """Returns the gradient of `squared_ratio` (Yang, Wen & Li 2020), 0 where x is."""
    total, squares = _sums(x, dim)
    return 2 * x.sign() * total / squares * (1 - x.abs() * total / squares)


@dataclass(frozen=True)
class HoyerSquare(Regularizer):
    """DeepHoyer's Hoyer-square: strength * (sum |x|)^2 / sum x^2 of every slice (Yang, Wen & Li 2020).

    The ratio goes from 1 (one non-zero) to n (all equal): near its minima it counts non-zeros, and its
    gradient pushes small numbers down and large ones up. It is 0 for a slice of zeros.

    Args:
        strength: lambda, >= 0.
        dim: The dimensions of a slice; None takes the whole tensor.
    """

    name: ClassVar[str] = "hoyer-square"
    has_prox: ClassVar[bool] = False

    dim: Dim = field(default=None, kw_only=True)

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * squared_ratio(x, self.dim)

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * squared_ratio_gradient(x, self.dim)


@dataclass(frozen=True)
class Hoyer(Regularizer):
    """The Hoyer penalty: strength * ||x||_1 / ||x||_2 of every slice, 0 for zeros (Yang, Wen & Li 2020).

    Args:
        strength: lambda, >= 0.
        dim: The dimensions of a slice; None takes the whole tensor.
    """

    name: ClassVar[str] = "hoyer"
    has_prox: ClassVar[bool] = False

    dim: Dim = field(default=None, kw_only=True)

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        total, squares = _sums(x, self.dim)
        return self.strength * (total / squares.sqrt()).sum()

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        total, squares = _sums(x, self.dim)
        return self.strength * x.sign() / squares.sqrt() * (1 - x.abs() * total / squares)
