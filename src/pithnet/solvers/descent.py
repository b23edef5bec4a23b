"""Solvers that follow a gradient or a subgradient: no weight becomes exactly zero but by accident."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pithnet.solvers.base import Need, StepSolver, moved
from pithnet.solvers.problem import LeastSquares
from pithnet.tensor import Regularizer


@dataclass(frozen=True)
class GradientDescent(StepSolver):
    """Gradient descent: w <- w - mu grad loss(w), which minimises the loss alone.

    Where many w have the least loss, it ends from w = 0 at the one of smallest norm.
    """

    name: ClassVar[str] = "gradient"
    needs: ClassVar[Need] = Need.NOTHING

    def _iterates(
        self, problem: LeastSquares, regularizer: Regularizer | None, w: Tensor
    ) -> Iterator[tuple[Tensor, float]]:
        mu = self.step(problem)
        while True:
            before, w = w, w - mu * problem.gradient(w)
            yield w, moved(w, before)


@dataclass(frozen=True)
class Subgradient(StepSolver):
    """Subgradient descent: w <- w - mu (grad loss(w) + a subgradient of r at w), mu constant (Shor 1985).

    Where r has a kink it does not converge: it ends up hopping around the minimum, about mu * strength off.
    """

    name: ClassVar[str] = "subgradient"
    needs: ClassVar[Need] = Need.SUBGRADIENT

    def _iterates(
        self, problem: LeastSquares, regularizer: Regularizer | None, w: Tensor
    ) -> Iterator[tuple[Tensor, float]]:
        assert regularizer is not None
        mu = self.step(problem)
        while True:
            before, w = w, w - mu * (problem.gradient(w) + regularizer.subgradient(w))
            yield w, moved(w, before)
