"""Three points, five weights: the assignment's data, its methods, and where each of them goes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import torch
from torch import Tensor

from pithnet.labs.notebook import Row
from pithnet.solvers import LeastSquares, Path, get_solver
from pithnet.tensor import Regularizer, get_regularizer

MU = 0.02  # the learning rate
STEPS = 200
KEPT = 2  # non-zeros of the true solution, at most
EARLY = 20  # steps of which a row tells more
LATE = 100  # steps at the end in which changes of sign are counted

X = torch.tensor([[1, -2, -1, -1, 1], [2, -1, 2, 0, -2], [-1, 0, 2, 2, 1]], dtype=torch.float64)
Y = torch.tensor([7, 1, 1], dtype=torch.float64)
DATA = ("three", "three-negated", "two")


def points(data: str) -> LeastSquares:
    """Returns L(W) = ||X W - y||^2 of all three points, of these with y negated, or of the first two."""
    if data == "two":
        return LeastSquares(X[:2], Y[:2])
    return LeastSquares(X, -Y if data == "three-negated" else Y)


@dataclass(frozen=True)
class Method:
    """A way to W, with lambda of "subgradient" or the threshold of "proximal" and "trimmed".

    A threshold t is a prox with strength t / mu: what a step of size mu takes off.
    """

    name: str
    parameter: float | None = None

    @property
    def strength(self) -> float | None:
        """The factor lambda that multiplies the penalty in the objective."""
        if self.parameter is None or self.name == "subgradient":
            return self.parameter
        return self.parameter / MU

    @property
    def what(self) -> str:
        """The method's name with its parameter."""
        if self.parameter is None:
            return self.name
        return f"{self.name} {'λ' if self.name == 'subgradient' else 't'} = {self.parameter:g}"

    @property
    def regularizer(self) -> Regularizer | None:
        """The method's penalty; None for plain gradient descent."""
        match self.name:
            case "gradient":
                return None
            case "projected":
                return get_regularizer("keep-k", k=KEPT)
            case "trimmed":
                return get_regularizer("trimmed-l1", strength=self.strength, k=KEPT)
        return get_regularizer("l1", strength=self.strength)

    def follow(self, problem: LeastSquares) -> Path:
        """Takes all steps from W = 0."""
        solver = {"proximal": "ista", "trimmed": "ista"}.get(self.name, self.name)
        return get_solver(solver, steps=STEPS, step_size=MU).solve(problem, self.regularizer)


METHODS = (
    Method("gradient"),
    Method("projected"),
    *(Method("subgradient", v) for v in (0.2, 0.5, 1.0, 2.0)),
    *(Method("proximal", t) for t in (0.004, 0.01, 0.02, 0.04)),
    *(Method("trimmed", t) for t in (0.02, 0.04, 0.1, 0.2)),
)


@dataclass(frozen=True, eq=False)
class Walk:
    """A method's path on one of the data sets, and the row of results.json that says what came of it."""

    data: str
    method: Method
    path: Path

    @classmethod
    def take(cls, data: str, method: Method) -> Walk:
        """Walks by a method on one of the data sets."""
        return cls(data, method, method.follow(points(data)))

    def row(self, mirrored: Walk | None = None) -> Row:
        """Returns the row; indices of a support count from 1, logarithms are natural, and None of 0.

        `mirrored` is the walk with y negated, where the row says how far the two are from being opposite.
        """
        path, final = self.path, self.path.final
        late = path.weights[-(LATE + 1) :].sign()
        gap = None if mirrored is None else float((path.weights + mirrored.path.weights).abs().max())
        return {
            "data": self.data,
            "method": self.method.name,
            "parameter": self.method.parameter,
            "lambda": self.method.strength,
            "weights": final.tolist(),
            "loss": float(path.losses[-1]),
            "log_loss": logarithms(path.losses)[-1],
            "objective": float(path.objectives[-1]),
            "exact_zeros": int(path.exact_zeros[-1]),
            "support": [int(i) + 1 for i in final.nonzero().flatten()],
            "support_settled_at": path.support_settled_at,
            "steps_with_a_zero": int((path.exact_zeros[1:] > 0).sum()),
            "sign_changes": int((late.diff(dim=0) != 0).sum()),
            "tie_gap": float((path.weights[:, 2].abs() - path.weights[:, 4].abs()).abs().max()),
            "early_zeros": path.exact_zeros[: EARLY + 1].tolist(),
            "early_losses": path.losses[: EARLY + 1].tolist(),
            **self._distances(),
            **({} if gap is None else {"mirror_gap": gap}),
        }

    def _distances(self) -> Row:
        """Of the final weights: to the solutions they may have ended at."""
        problem, final = self.path.problem, self.path.final
        row: Row = {
            "to_least_norm": float((final - torch.linalg.pinv(problem.X) @ problem.y).norm()),
            "to_sparse": min(float((final - w).norm()) for w in exact_solutions(self.data)),
        }
        if self.method.name == "proximal" and self.method.strength is not None:
            biased = biased_solution(problem, final, self.method.strength)
            row |= {} if biased is None else {"to_biased": float((final - biased).norm())}
        return row

    def steps(self) -> list[Row]:
        """Returns a row a step: log L and every weight."""
        logs, weights = logarithms(self.path.losses), self.path.weights.tolist()
        what = {"data": self.data, "method": self.method.name, "parameter": self.method.parameter}
        return [
            {**what, "step": step, "log_loss": log, **{f"w{i}": v for i, v in enumerate(w, 1)}}
            for step, (log, w) in enumerate(zip(logs, weights, strict=True))
        ]


@cache
def walks(data: str) -> tuple[Walk, ...]:
    """Returns the paths of all methods on one of the data sets."""
    return tuple(Walk.take(data, method) for method in METHODS)


def logarithms(losses: Tensor) -> list[float | None]:
    """Returns natural logarithms; None where a loss is exactly zero."""
    return [float(v.log()) if v > 0 else None for v in losses]


@cache
def exact_solutions(data: str) -> list[Tensor]:
    """Finds every W of at most two non-zeros with X W = y, by trying all pairs of places."""
    problem, found = points(data), list[Tensor]()
    for places in combinations(range(problem.X.shape[1]), KEPT):
        columns = problem.X[:, list(places)]
        values = torch.linalg.lstsq(columns, problem.y, driver="gelsd").solution
        w = problem.zeros()
        w[list(places)] = torch.where(values.abs() > 1e-9, values, 0.0)
        exact = float(problem.loss(w)) < 1e-18
        if exact and not any(torch.allclose(w, other, atol=1e-9) for other in found):
            found.append(w)
    return found


def biased_solution(problem: LeastSquares, w: Tensor, strength: float) -> Tensor | None:
    """Minimises ||X W - y||^2 + strength ||W||_1 with the support and the signs of `w`.

    There 2 X_S^T (X_S W_S - y) + strength sign(W_S) = 0. It is None where the columns X_S are dependent.
    """
    places = w != 0
    columns = problem.X[:, places]
    if torch.linalg.matrix_rank(columns) < columns.shape[1]:
        return None
    biased = problem.zeros()
    target = columns.T @ problem.y - strength / 2 * w[places].sign()
    biased[places] = torch.linalg.solve(columns.T @ columns, target)
    return biased
