"""Solvers that follow the loss's gradient and then take the regularizer's prox: zeros are exact."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pithnet.solvers.base import Need, StepSolver, moved
from pithnet.solvers.problem import LeastSquares
from pithnet.tensor import Regularizer


@dataclass(frozen=True)
class Ista(StepSolver):
    """Proximal gradient: w <- prox_(mu r)(w - mu grad loss(w)) (Daubechies, Defrise & De Mol 2004 for L1).

    The objective falls as O(1/t) for a convex r. For others a step under 1 / L never raises it, and the path
    ends where the step changes nothing, which need not be the global minimum.
    """

    name: ClassVar[str] = "ista"
    needs: ClassVar[Need] = Need.PROX

    def _iterates(
        self, problem: LeastSquares, regularizer: Regularizer | None, w: Tensor
    ) -> Iterator[tuple[Tensor, float]]:
        assert regularizer is not None
        mu = self.step(problem)
        while True:
            before, w = w, regularizer.prox(w - mu * problem.gradient(w), mu)
            yield w, moved(w, before)


@dataclass(frozen=True)
class ProjectedGradient(Ista):
    """Proximal gradient whose r is a constraint, so that its prox is the projection onto what is allowed.

    With "keep-k" it is iterative hard thresholding (Blumensath & Davies 2009).
    """

    name: ClassVar[str] = "projected"
    needs: ClassVar[Need] = Need.CONSTRAINT


@dataclass(frozen=True)
class Fista(StepSolver):
    """Proximal gradient from a point extrapolated along the last move (Beck & Teboulle 2009, eq. 4.1-4.3).

    For a convex r the objective falls as O(1/t^2), though not at every step. For others use "ista".
    """

    name: ClassVar[str] = "fista"
    needs: ClassVar[Need] = Need.PROX
    bound: ClassVar[float] = 1.0

    def _iterates(
        self, problem: LeastSquares, regularizer: Regularizer | None, w: Tensor
    ) -> Iterator[tuple[Tensor, float]]:
        assert regularizer is not None
        mu, ahead, t = self.step(problem), w, 1.0
        while True:
            before, w = w, regularizer.prox(ahead - mu * problem.gradient(ahead), mu)
            t_before, t = t, (1 + math.sqrt(1 + 4 * t * t)) / 2
            # A step from `ahead` that moves nothing is a fixed point only if `ahead` was w itself.
            distance = max(moved(w, before), moved(w, ahead))
            ahead = w + (t_before - 1) / t * (w - before)
            yield w, distance
