"""Which methods find the non-zero weights of a random design, and how far off their values are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pithnet.labs.linear.design import GROUP, NONZEROS, Design, group_strength, universal_strength
from pithnet.labs.notebook import Row
from pithnet.solvers import Fista, Ista, ProjectedGradient, Subgradient
from pithnet.tensor import Regularizer, get_regularizer

STEPS, TOLERANCE = 2000, 1e-5
HOYER_STEPS = 400
FEWER, MORE = NONZEROS // 2, 2 * NONZEROS  # the wrong k of trimmed L1
HINDSIGHT = (1.0, 0.5, 0.25)  # times the universal strength
GAMMA = 3.0  # of MCP


Fit = Callable[[Design], Tensor]


@dataclass(frozen=True)
class Entrant:
    """parameter: lambda, k or None. `fit` sees X and y; `knows_truth` marks references that see w as well."""

    what: str
    method: str
    parameter: float | None
    fit: Fit
    knows_truth: bool = False


def _fit(solver: type[Fista | Ista], penalty: str, **settings: Any) -> Fit:
    """The solver, from w = 0, with that penalty."""
    r = get_regularizer(penalty, **settings)
    return lambda design: solver(steps=STEPS, tolerance=TOLERANCE).solve(design.problem, r).final


def _refitted(fit: Fit) -> Fit:
    return lambda design: design.refitted(fit(design))


def _best_lasso(design: Design) -> Tensor:
    """The lasso at the strength that the truth says is best; each starts where the stronger one ended."""
    w, found = None, []
    for factor in HINDSIGHT:
        r = get_regularizer("l1", strength=factor * universal_strength())
        w = Fista(steps=STEPS, tolerance=TOLERANCE).solve(design.problem, r, w).final
        found.append(w)
    return min(found, key=lambda w: float((w - design.truth).norm()))


def _thresholded(design: Design, first: int) -> Tensor:
    """Iterative hard thresholding, k rising from `first` to the right one, each from where the last ended."""
    w = None
    for k in range(first, NONZEROS + 1):
        # What comes before the right k is only a start: it need not be exact.
        tolerance = TOLERANCE if k == NONZEROS else 100 * TOLERANCE
        solver = ProjectedGradient(steps=STEPS, tolerance=tolerance)
        w = solver.solve(design.problem, get_regularizer("keep-k", k=k), w).final
    assert w is not None
    return w


def _cut(threshold: float, regularizer: Regularizer, groups: bool) -> Fit:
    """Subgradient steps leave no zero: what is below the threshold is cut off, the rest refitted."""

    def fit(design: Design) -> Tensor:
        w = Subgradient(steps=HOYER_STEPS).solve(design.problem, regularizer).final
        size = w.norm(dim=1, keepdim=True) if groups else w.abs()
        return design.refitted(torch.where(size > threshold, w, 0.0))

    return fit


def entrants(grouped: bool = False) -> tuple[Entrant, ...]:
    """In the order of the table; the grouped design has its own, and both end with the oracle."""
    oracle = Entrant("least squares on the true support", "oracle", None, _refitted(lambda d: d.truth), True)
    return (*(_for_groups() if grouped else _for_weights()), oracle)


def _for_weights() -> Iterator[Entrant]:
    s = universal_strength()
    # Cutting off |w| <= s is worth s^2 / 2 a weight, and Hoyer-square counts weights.
    hoyer = get_regularizer("hoyer-square", strength=s * s / 2)
    yield Entrant("lasso, λ", "lasso", s, _fit(Fista, "l1", strength=s))
    yield Entrant("lasso, 2 λ", "lasso", 2 * s, _fit(Fista, "l1", strength=2 * s))
    yield Entrant("lasso, λ, refitted", "lasso-refitted", s, _refitted(_fit(Fista, "l1", strength=s)))
    for k in (NONZEROS, FEWER, MORE):
        fit = _fit(Ista, "trimmed-l1", strength=s, k=k)
        yield Entrant(f"trimmed L1, k = {k}", "trimmed", k, fit)
    yield Entrant("MCP, λ", "mcp", s, _fit(Ista, "mcp", strength=s, gamma=GAMMA))
    hard, rising = f"hard threshold, k = {NONZEROS}", f"hard threshold, k = 1 to {NONZEROS}"
    yield Entrant(hard, "hard", NONZEROS, lambda d: _thresholded(d, NONZEROS))
    yield Entrant(rising, "hard-rising", NONZEROS, lambda d: _thresholded(d, 1))
    yield Entrant("Hoyer-square, cut at λ, refitted", "hoyer-square", s, _cut(s, hoyer, groups=False))
    yield Entrant("best lasso in hindsight", "lasso-hindsight", None, _best_lasso, knows_truth=True)


def _for_groups() -> Iterator[Entrant]:
    s, group = universal_strength(), group_strength()
    lasso, norm = _fit(Fista, "group-lasso", strength=group, dim=1), group * GROUP**0.5
    hoyer = get_regularizer("group-hoyer-square", strength=norm * norm / 2, dim=1)
    yield Entrant("lasso, λ", "lasso", s, _fit(Fista, "l1", strength=s))
    yield Entrant("group lasso, λ of groups", "group-lasso", group, lasso)
    yield Entrant("group lasso, refitted", "group-lasso-refitted", group, _refitted(lasso))
    cut = _cut(norm, hoyer, groups=True)
    yield Entrant("group Hoyer-square, cut, refitted", "group-hoyer-square", group, cut)


def recovery(entrant: Entrant, designs: Sequence[Design], data: str) -> Row:
    """Averages over the designs: true and false positives, ||w - truth||; and tells the errors one by one.

    The time is the processor's, which other programs do not lengthen; the median of the designs.
    """
    assert all(design.problem.lipschitz for design in designs)  # known before the first clock starts
    errors, hits, wrong, exact, seconds = [], [], [], [], []
    for design in designs:
        start = time.process_time()
        w = entrant.fit(design)
        seconds.append(time.process_time() - start)
        errors.append(float((w - design.truth).norm()))
        hits.append(int(((w != 0) & (design.truth != 0)).sum()))
        wrong.append(int(((w != 0) & (design.truth == 0)).sum()))
        exact.append(torch.equal(w != 0, design.truth != 0))
    return {
        "data": data,
        "method": entrant.method,
        "parameter": entrant.parameter,
        "weights": None,
        "loss": None,
        "knows_truth": entrant.knows_truth,
        "true_positives": statistics.fmean(hits),
        "false_positives": statistics.fmean(wrong),
        "exact_supports": sum(exact),
        "designs": len(designs),
        "l2_error": statistics.fmean(errors),
        "l2_error_sd": statistics.stdev(errors) if len(errors) > 1 else None,
        "milliseconds": 1000 * statistics.median(seconds),
        "l2_errors": errors,
    }
