"""The smooth part of a sparse linear model: a sum of squares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pithnet.errors import DataError, RecipeError


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """A loss: loss(w) = scale * ||X w - y||^2, with gradient 2 scale X^T (X w - y).

    Args:
        X: (m, n) float64, with a point in each row.
        y: (m,) float64.
        scale: > 0; it is 1 where the loss is a plain sum of squares, 1/2 in most papers, 1 / (2 m) in
            scikit-learn.
        shape: The shape of w, with n numbers in all, such as (groups, size); (n,) where None. Its rows run
            through the columns of X in order.

    Raises:
        DataError: X or y is not finite, not float64 or of the wrong number of axes, or they do not fit each
            other.
        RecipeError: The scale is not positive, or the shape does not hold n numbers.
    """

    X: Tensor
    y: Tensor
    scale: float = 1.0
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _require_numbers(self.X, "X", 2, "(points, weights)")
        _require_numbers(self.y, "y", 1, "(points,)")
        m, n = self.X.shape
        if len(self.y) != m:
            raise DataError(f"X has {m} rows but y has {len(self.y)} numbers: give one y for every row of X.")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise RecipeError(f"scale is {self.scale}: use a finite number > 0.")
        if math.prod(self.weights_shape) != n:
            raise RecipeError(f"shape {self.shape} holds {math.prod(self.weights_shape)} weights, X has {n}.")

    @property
    def weights_shape(self) -> tuple[int, ...]:
        """The shape of w."""
        return (self.X.shape[1],) if self.shape is None else self.shape

    def zeros(self) -> Tensor:
        """Returns w = 0."""
        return self.X.new_zeros(self.weights_shape)

    def loss(self, w: Tensor) -> Tensor:
        """Returns the loss of one w of `weights_shape` (a scalar), or of each w along leading dimensions."""
        batch = w.shape[: w.ndim - len(self.weights_shape)]
        residuals = w.reshape(*batch, -1) @ self.X.T - self.y
        return self.scale * residuals.square().sum(-1)

    def gradient(self, w: Tensor) -> Tensor:
        """Returns the gradient at w, of `weights_shape`."""
        residual = self.X @ w.flatten() - self.y
        return (2 * self.scale * (self.X.T @ residual)).reshape(self.weights_shape)

    @cached_property
    def lipschitz(self) -> float:
        """The gradient's Lipschitz constant L = 2 scale ||X||^2, from X's largest singular value."""
        return 2 * self.scale * float(self._svd[1].max()) ** 2

    @cached_property
    def mean_curvature(self) -> float:
        """The mean eigenvalue of the Hessian 2 scale X^T X; 1 for normalised columns and scale 1 / (2 m)."""
        return 2 * self.scale * float(self.X.square().sum()) / self.X.shape[1]

    def prox(self, v: Tensor, rho: float) -> Tensor:
        """Returns the w that minimises loss(w) + rho / 2 ||w - v||^2: ridge regression towards v.

        In the basis of X's singular vectors the system is diagonal, so that any rho is as cheap as a product.

        Args:
            v: float64 of `weights_shape`.
            rho: > 0.
        """
        _, values, vectors = self._svd
        b = 2 * self.scale * (self.X.T @ self.y) + rho * v.flatten()
        inside = vectors @ b
        w = vectors.T @ (inside / (2 * self.scale * values.square() + rho)) + (b - vectors.T @ inside) / rho
        return w.reshape(self.weights_shape)

    @cached_property
    def _svd(self) -> tuple[Tensor, Tensor, Tensor]:
        u, values, vectors = torch.linalg.svd(self.X, full_matrices=False)
        return u, values, vectors


def _require_numbers(tensor: Tensor, name: str, ndim: int, axes: str) -> None:
    if tensor.dtype != torch.float64:
        raise DataError(f"{name} is {tensor.dtype}: the solvers work in float64; use {name}.double().")
    if tensor.ndim != ndim or not tensor.numel():
        raise DataError(f"{name} has shape {tuple(tensor.shape)}: it must be {axes}, none of them 0.")
    bad = int((~tensor.isfinite()).sum())
    if bad:
        raise DataError(f"{name}: {bad} of {tensor.numel()} numbers are NaN or inf; mend the data first.")
