"""Where the lasso's bias comes from, and how fast its solvers get there: curves over one random design."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from pithnet.labs.linear.design import NONZEROS, Design, strongest, universal_strength
from pithnet.labs.linear.recovery import GAMMA
from pithnet.labs.notebook import Row
from pithnet.solvers import Solver, get_solver
from pithnet.tensor import get_regularizer

STEPS = 300
WITHIN = 1e-6  # of the objective at w = 0: the band in which a solver counts as there, once it stays
STRENGTHS = 16  # along a path
SOLVERS = ("subgradient", "ista", "fista", "admm")
PENALTIES = {"lasso": "l1", "trimmed": "trimmed-l1", "mcp": "mcp"}
_PARAMETERS: dict[str, Row] = {"trimmed": {"k": NONZEROS}, "mcp": {"gamma": GAMMA}}


def settled_at(inside: Tensor) -> int | None:
    """Returns the first index from which bool (n,) `inside` is true to the end; None where it ends false."""
    outside = (~inside).nonzero()
    start = int(outside[-1]) + 1 if len(outside) else 0
    return start if start < len(inside) else None


class Curves:
    """The rows of results.json on one design."""

    def __init__(self, design: Design) -> None:
        self.design = design
        self._lasso = get_regularizer("l1", strength=universal_strength())

    @cached_property
    def _best(self) -> float:
        """The lasso's least objective at the universal strength."""
        solver = get_solver("fista", steps=5000, tolerance=1e-12)
        return float(solver.solve(self.design.problem, self._lasso).objectives[-1])

    def convergence(self, solver: str) -> Row:
        """Measures the lasso's objective minus its least, after every step of `solver` with own settings."""
        path = get_solver(solver, steps=STEPS).solve(self.design.problem, self._lasso)
        gaps = (path.objectives - self._best).clamp(min=0)
        inside = gaps <= WITHIN * path.objectives[0]
        return {
            "data": "random-convergence",
            "method": solver,
            "parameter": universal_strength(),
            "weights": None,
            "loss": float(path.losses[-1]),
            "exact_zeros": int(path.exact_zeros[-1]),
            "steps_to_the_minimum": settled_at(inside),
            "first_step_within": int(inside.nonzero()[0]) if inside.any() else None,
            "gap": float(gaps[-1]),
            "gaps": gaps.tolist(),
        }

    def along(self, method: str) -> Row:
        """Measures ||w - truth|| for strengths from the one that keeps nothing to half the universal one.

        Each solution is where the next one starts.
        """
        design, last = self.design, universal_strength() / 2
        ratio = (last / strongest(design)) ** (1 / (STRENGTHS - 1))
        strengths = [strongest(design) * ratio**i for i in range(STRENGTHS)]
        solutions: list[Tensor] = []
        for strength in strengths:
            start = solutions[-1] if solutions else None
            solutions.append(self._solve(method, strength, start))
        at_rule = self._solve(method, universal_strength(), None)
        places = design.truth != 0
        return {
            "data": "random-path",
            "method": method,
            "parameter": universal_strength(),
            "weights": None,
            "loss": None,
            "strengths": strengths,
            "l2_errors": [float((w - design.truth).norm()) for w in solutions],
            "nonzeros": [int((w != 0).sum()) for w in solutions],
            "places": [int(i) + 1 for i in places.nonzero().flatten()],
            "on_the_support": at_rule[places].tolist(),
            "truth": design.truth[places].tolist(),
        }

    def _solve(self, method: str, strength: float, start: Tensor | None) -> Tensor:
        r = get_regularizer(PENALTIES[method], strength=strength, **_PARAMETERS.get(method, {}))
        solver: Solver = get_solver("fista" if method == "lasso" else "ista", steps=2000, tolerance=1e-5)
        return solver.solve(self.design.problem, r, start).final
