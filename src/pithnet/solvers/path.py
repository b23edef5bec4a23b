"""The record of everything that a solver went through, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pithnet.solvers.problem import LeastSquares
from pithnet.tensor import Regularizer


@dataclass(frozen=True, eq=False)
class Path:
    """The weights after every step; the rest follows from them.

    Attributes:
        problem: The loss.
        regularizer: r, or None for the loss alone.
        weights: (steps + 1, *shape) float64, the start first.
        converged: Whether the solver's tolerance was met, so that it stopped before its last step.
    """

    problem: LeastSquares
    regularizer: Regularizer | None
    weights: Tensor
    converged: bool = False

    def __len__(self) -> int:
        return len(self.weights) - 1

    @property
    def final(self) -> Tensor:
        """The weights after the last step."""
        return self.weights[-1]

    @cached_property
    def losses(self) -> Tensor:
        """The loss without the regularizer, (steps + 1,)."""
        return self.problem.loss(self.weights)

    @cached_property
    def objectives(self) -> Tensor:
        """The loss plus the regularizer, (steps + 1,); inf where a constraint does not hold."""
        if self.regularizer is None:
            return self.losses
        return self.losses + torch.stack([self.regularizer.value(w) for w in self.weights])

    @cached_property
    def supports(self) -> Tensor:
        """Booleans of the shape of `weights`: True where a weight is not exactly zero."""
        return self.weights != 0

    @property
    def exact_zeros(self) -> Tensor:
        """The number of weights that are exactly zero, (steps + 1,) int64."""
        return (~self.supports).flatten(1).sum(1)

    @property
    def support_settled_at(self) -> int:
        """The first step from which the support is the final one; the last step if that still changed it."""
        changed = (self.supports[1:] != self.supports[:-1]).flatten(1).any(1)
        return int(changed.nonzero().max()) + 1 if changed.any() else 0
