"""A random linear model with few non-zero weights, and how strong a penalty its noise asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pithnet.solvers import LeastSquares

POINTS, WEIGHTS, NONZEROS = 100, 400, 10
NOISE = 0.5  # standard deviation of what is added to X w
GROUP = 5  # weights of a group, where non-zeros come in groups


@dataclass(frozen=True, eq=False)
class Design:
    """A linear model y = X w + noise. The loss is ||X w - y||^2 / (2 m); columns of X have the norm sqrt(m).

    So a change of one weight by d changes X w by d on the average point, whichever weight it is: weights, and
    the strength that holds them down, are comparable.
    """

    problem: LeastSquares
    truth: Tensor

    @classmethod
    def draw(cls, seed: int, grouped: bool = False) -> Design:
        """Draws X normal before it is normalised, 10 of 400 weights uniform in +-[1, 2], noise 0.5.

        With `grouped` these are 2 of 80 groups of 5 neighbours, else anywhere; w is then (80, 5), not (400,).
        """
        g = torch.Generator().manual_seed(seed)
        X = torch.randn(POINTS, WEIGHTS, generator=g, dtype=torch.float64)
        X *= math.sqrt(POINTS) / X.norm(dim=0)
        size = 1 + torch.rand(NONZEROS, generator=g, dtype=torch.float64)
        values = size * (2 * torch.randint(2, (NONZEROS,), generator=g) - 1)
        shape = (WEIGHTS // GROUP, GROUP) if grouped else (WEIGHTS,)
        truth = torch.zeros(shape, dtype=torch.float64)
        places = torch.randperm(shape[0], generator=g)[: NONZEROS // GROUP if grouped else NONZEROS]
        truth[places] = values.reshape(-1, *shape[1:])
        noise = NOISE * torch.randn(POINTS, generator=g, dtype=torch.float64)
        y = X @ truth.flatten() + noise
        return cls(LeastSquares(X, y, 1 / (2 * POINTS), shape), truth)

    def refitted(self, w: Tensor) -> Tensor:
        """Fits least squares on the support of `w`, zero elsewhere."""
        places = w.flatten() != 0
        fitted = torch.zeros_like(w.flatten())
        fitted[places] = torch.linalg.lstsq(self.problem.X[:, places], self.problem.y).solution
        return fitted.reshape(w.shape)


def universal_strength() -> float:
    """Returns sigma sqrt(2 ln n / m), about the largest correlation of a column with the noise alone.

    Source: Donoho & Johnstone 1994, for columns of norm sqrt(m). Below it columns that matter nothing would
    enter.
    """
    return NOISE * math.sqrt(2 * math.log(WEIGHTS) / POINTS)


def group_strength() -> float:
    """Returns sigma (1 + sqrt(2 ln G / g)) / sqrt(m), the same for G groups of g weights.

    Of pure noise ||X_g^T noise|| / m is about sigma (sqrt(g) + sqrt(2 ln G)) / sqrt(m) at most (Lounici,
    Pontil, van de Geer & Tsybakov 2011); the penalty multiplies strength by sqrt(g).
    """
    groups = WEIGHTS // GROUP
    return NOISE * (1 + math.sqrt(2 * math.log(groups) / GROUP)) / math.sqrt(POINTS)


def strongest(design: Design) -> float:
    """Returns the smallest lambda at which L1 leaves w = 0: the largest slope of the loss there."""
    return float(design.problem.gradient(design.problem.zeros()).abs().max())
