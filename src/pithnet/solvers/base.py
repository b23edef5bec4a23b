"""What a solver is: steps that lead from a start to a minimum, and what they ask of the regularizer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.errors import DataError, RecipeError
from pithnet.solvers.path import Path
from pithnet.solvers.problem import LeastSquares
from pithnet.tensor import Regularizer

# Far from any solution, and a factor of 1e200 away from overflow.
_DIVERGED = 1e100


class StepSizeWarning(UserWarning):
    """The step is over the bound up to which the method is known to converge."""


class Need(Enum):
    """What a solver asks of the regularizer; the value is how its errors say it."""

    NOTHING = "no regularizer"
    SUBGRADIENT = "a regularizer with a subgradient"
    PROX = "a regularizer with a prox"
    CONSTRAINT = "a constraint"

    def met_by(self, regularizer: Regularizer | None) -> bool:
        """Tells whether a regularizer, or None for the lack of one, is what the solver asks for."""
        if regularizer is None:
            return self is Need.NOTHING
        met = {
            Need.NOTHING: False,
            Need.SUBGRADIENT: regularizer.has_subgradient,
            Need.PROX: regularizer.has_prox,
            Need.CONSTRAINT: regularizer.is_constraint,
        }
        return met[self]


@dataclass(frozen=True)
class Solver:
    """A method that minimises loss(w) + r(w) in at most `steps` steps.

    Args:
        steps: The most steps to take, at least 1.
        tolerance: The solver stops once a step moves w by no more than tolerance * max(1, ||w||); 0 takes all
            steps.

    Raises:
        RecipeError: A setting is out of range.
    """

    name: ClassVar[str]
    needs: ClassVar[Need]

    steps: int = 200
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise RecipeError(f"steps is {self.steps}: use at least 1.")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise RecipeError(f"tolerance is {self.tolerance}: use a finite number >= 0.")

    def solve(
        self, problem: LeastSquares, regularizer: Regularizer | None = None, start: Tensor | None = None
    ) -> Path:
        """Walks the whole path from a start.

        Args:
            problem: The loss.
            regularizer: r, or None for the loss alone.
            start: float64 of the problem's `weights_shape`; zeros where None.

        Returns:
            The weights after every step.

        Raises:
            RecipeError: The solver cannot use the regularizer, or it does not fit the weights (both are found
                before the first step); or the steps diverge.
            DataError: The start is not finite float64 of the problem's shape.
        """
        self._require_fit(regularizer)
        first = problem.zeros() if start is None else _checked(start, problem)
        if regularizer is not None:
            regularizer.value(first)  # more weights to keep than there are: known before any work is done
        self._warn(problem)
        weights, converged = [first], False
        iterates = islice(self._iterates(problem, regularizer, first), self.steps)
        for number, (w, distance) in enumerate(iterates, 1):
            if not distance < _DIVERGED:
                raise RecipeError(f"{self.name!r} diverged at step {number}: {self._remedy(problem)}")
            weights.append(w)
            if self.tolerance and distance <= self.tolerance * max(1.0, float(w.norm())):
                converged = True
                break
        return Path(problem, regularizer, torch.stack(weights), converged)

    def _iterates(
        self, problem: LeastSquares, regularizer: Regularizer | None, w: Tensor
    ) -> Iterator[tuple[Tensor, float]]:
        """Yields without end the next weights, and how far they are from a fixed point of the step."""
        raise NotImplementedError

    def _warn(self, problem: LeastSquares) -> None:
        """Warns about settings that do not suit the problem."""

    def _remedy(self, problem: LeastSquares) -> str:
        return "use a convex regularizer."

    def _require_fit(self, regularizer: Regularizer | None) -> None:
        if self.needs.met_by(regularizer):
            return
        what = "none is given" if regularizer is None else f"{regularizer.name!r} is not that"
        if self.needs is Need.NOTHING and regularizer is not None:
            what = f"{regularizer.name!r} would be ignored"
        raise RecipeError(f"{self.name!r} needs {self.needs.value}, {what}: use {_suited(regularizer)}.")


@dataclass(frozen=True)
class StepSolver(Solver):
    """A solver that follows the gradient; it warns (StepSizeWarning) about a step size over its bound.

    Args:
        steps: The most steps to take.
        tolerance: See `Solver`.
        step_size: mu > 0; None takes 1 / L, where L is `problem.lipschitz`.

    Raises:
        RecipeError: A setting is out of range.
    """

    bound: ClassVar[float] = 2.0  # in units of 1 / L

    step_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_size is not None:
            require_positive(self.step_size, "step_size")

    def step(self, problem: LeastSquares) -> float:
        """Returns the step size on that problem."""
        if self.step_size is not None:
            return self.step_size
        return 1.0 / problem.lipschitz if problem.lipschitz else 1.0

    def step_bound(self, problem: LeastSquares) -> float:
        """Returns the largest step size known to converge for a convex regularizer, inf where X is zero."""
        return self.bound / problem.lipschitz if problem.lipschitz else math.inf

    def _warn(self, problem: LeastSquares) -> None:
        limit, size = self.step_bound(problem), self.step(problem)
        if size > limit:
            warnings.warn(
                f"step_size {size:g} is over {self.bound:g}/L = {limit:.4g}, the bound of {self.name!r}: "
                f"it may diverge; use {1 / problem.lipschitz:.4g} or leave it out.",
                StepSizeWarning,
                stacklevel=3,
            )

    def _remedy(self, problem: LeastSquares) -> str:
        return f"use a step_size of at most {self.bound:g}/L = {self.step_bound(problem):.4g}."


def moved(after: Tensor, before: Tensor) -> float:
    """Returns ||after - before||."""
    return float(torch.linalg.vector_norm(after - before))


def require_positive(value: float, name: str) -> None:
    """Checks that a setting is finite and > 0.

    Args:
        value: The setting.
        name: What the message calls it.

    Raises:
        RecipeError: The setting is not finite, or not positive.
    """
    if not (math.isfinite(value) and value > 0):
        raise RecipeError(f"{name} is {value}: use a finite number > 0.")


def _suited(regularizer: Regularizer | None) -> str:
    if regularizer is None:
        return "'gradient' for the loss alone, or give one"
    if regularizer.is_constraint:
        return "'projected'"
    return "'ista', 'fista' or 'admm'" if regularizer.has_prox else "'subgradient'"


def _checked(start: Tensor, problem: LeastSquares) -> Tensor:
    if start.shape != problem.weights_shape or start.dtype != torch.float64:
        found, wanted = f"{tuple(start.shape)} {start.dtype}", problem.weights_shape
        raise DataError(f"start is {found}: this problem's weights are {wanted} torch.float64.")
    if not bool(start.isfinite().all()):
        raise DataError("start has numbers that are NaN or inf: start from zeros instead.")
    return start
