"""Alternating direction method of multipliers: loss and regularizer are minimised apart and made to agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.solvers.base import Need, Solver, moved, require_positive
from pithnet.solvers.problem import LeastSquares
from pithnet.tensor import Regularizer


@dataclass(frozen=True)
class Admm(Solver):
    """ADMM: x <- argmin loss(x) + rho/2 ||x - z + u||^2; z <- prox_(r/rho)(x + u); u <- u + x - z.

    This is the scaled form of Boyd, Parikh, Chu, Peleato & Eckstein 2011, section 6.4. The path is that of z,
    which has the exact zeros. There is no step size. The extra variables z and u have w's size.

    Args:
        steps: The most steps to take.
        tolerance: See `Solver`.
        rho: Weighs the agreement of x and z, > 0; any value converges for a convex r. None takes the loss's
            mean curvature.

    Raises:
        RecipeError: A setting is out of range.
    """

    name: ClassVar[str] = "admm"
    needs: ClassVar[Need] = Need.PROX

    rho: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho is not None:
            require_positive(self.rho, "rho")

    def _iterates(
        self, problem: LeastSquares, regularizer: Regularizer | None, w: Tensor
    ) -> Iterator[tuple[Tensor, float]]:
        assert regularizer is not None
        rho = self.rho or problem.mean_curvature or 1.0
        z, u = w, torch.zeros_like(w)
        while True:
            x = problem.prox(z - u, rho)
            before, z = z, regularizer.prox(x + u, 1 / rho)
            u = u + x - z
            # Primal and dual residual: z alone may rest while x is still on its way.
            yield z, max(moved(x, z), moved(z, before))
