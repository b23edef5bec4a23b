"""Regularizers that are a sum over single numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.tensor._checks import require_finite, require_fraction, require_nonnegative, require_positive
from pithnet.tensor.proximal import (
    elastic_net_prox,
    l0_prox,
    mcp_prox,
    scad,
    scad_prox,
    soft_threshold,
    transformed_l1_prox,
)
from pithnet.tensor.regularizers.base import Regularizer


@dataclass(frozen=True)
class L1(Regularizer):
    """The L1 penalty strength * sum |x| (Tibshirani 1996): it is convex, and shrinks what it keeps."""

    name: ClassVar[str] = "l1"

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * x.abs().sum()

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * x.sign()

    def prox(self, x: Tensor, step: float) -> Tensor:
        require_nonnegative(step, "step")
        return soft_threshold(x, step * self.strength)


@dataclass(frozen=True)
class L0(Regularizer):
    """The L0 penalty: strength * number of non-zeros."""

    name: ClassVar[str] = "l0"
    has_subgradient: ClassVar[bool] = False

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * x.count_nonzero().to(x.dtype)

    def prox(self, x: Tensor, step: float) -> Tensor:
        require_nonnegative(step, "step")
        return l0_prox(x, step * self.strength)


@dataclass(frozen=True)
class ElasticNet(Regularizer):
    """The elastic net: strength * sum (l1_ratio |x| + (1 - l1_ratio) x^2 / 2) (Zou & Hastie 2005).

    Args:
        strength: lambda, >= 0.
        l1_ratio: The share of L1, from 0 to 1.

    Raises:
        RecipeError: A parameter is out of range.
    """

    name: ClassVar[str] = "elastic-net"

    l1_ratio: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(self.l1_ratio, "l1_ratio")

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * (self.l1_ratio * x.abs() + (1 - self.l1_ratio) / 2 * x.square()).sum()

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * (self.l1_ratio * x.sign() + (1 - self.l1_ratio) * x)

    def prox(self, x: Tensor, step: float) -> Tensor:
        require_nonnegative(step, "step")
        return elastic_net_prox(x, step * self.strength, self.l1_ratio)


@dataclass(frozen=True)
class MCP(Regularizer):
    """The minimax concave penalty: sum of strength |x| - x^2 / (2 gamma), constant from gamma strength on.

    Large numbers are not shrunk (Zhang 2010).

    Args:
        strength: lambda, >= 0.
        gamma: > 0.

    Raises:
        RecipeError: A parameter is out of range.
    """

    name: ClassVar[str] = "mcp"

    gamma: float = field(default=3.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self.gamma, "gamma")

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        size = x.abs().clamp(max=self.gamma * self.strength)
        return (self.strength * size - size.square() / (2 * self.gamma)).sum()

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return x.sign() * (self.strength - x.abs() / self.gamma).clamp(min=0)

    def prox(self, x: Tensor, step: float) -> Tensor:
        return mcp_prox(x, self.strength, self.gamma, step)


@dataclass(frozen=True)
class SCAD(Regularizer):
    """The smoothly clipped absolute deviation: L1 up to |x| = strength, constant from a strength on.

    Source: Fan & Li 2001, eq. 2.7; a = 3.7 is theirs.

    Args:
        strength: lambda, >= 0.
        a: > 2.

    Raises:
        RecipeError: A parameter is out of range.
    """

    name: ClassVar[str] = "scad"

    a: float = field(default=3.7, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self.a, "a")
        if self.a <= 2:
            raise RecipeError(f"a is {self.a}: SCAD needs more than 2; 3.7 is usual.")

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return scad(x, self.strength, self.a).sum()

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        falling = ((self.a * self.strength - x.abs()) / (self.a - 1)).clamp(0, self.strength)
        return x.sign() * falling

    def prox(self, x: Tensor, step: float) -> Tensor:
        return scad_prox(x, self.strength, self.a, step)


@dataclass(frozen=True)
class TransformedL1(Regularizer):
    """The transformed L1 penalty: strength * sum (a + 1) |x| / (a + |x|) (Zhang & Xin 2018).

    It goes from L0 (a -> 0) to L1 (a -> inf).

    Args:
        strength: lambda, >= 0.
        a: > 0.

    Raises:
        RecipeError: A parameter is out of range.
    """

    name: ClassVar[str] = "transformed-l1"

    a: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self.a, "a")

    def value(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * ((self.a + 1) * x.abs() / (self.a + x.abs())).sum()

    def subgradient(self, x: Tensor) -> Tensor:
        require_finite(x, "x")
        return self.strength * self.a * (self.a + 1) * torch.sign(x) / (self.a + x.abs()).square()

    def prox(self, x: Tensor, step: float) -> Tensor:
        require_nonnegative(step, "step")
        return transformed_l1_prox(x, step * self.strength, self.a)
