"""Which methods find the non-zero weights of a random design, and how far off their values are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Entrant:
    """parameter: lambda, k or None. `fit` sees X and y; `knows_truth` marks references that see w as well."""

    what: str
    method: str
    parameter: float | None
    fit: Callable[[Design], Tensor]
    knows_truth: bool = False


def _convex(design: Design, regularizer: Regularizer, start: Tensor | None = None) -> Tensor:
    return Fista(steps=STEPS, tolerance=TOLERANCE).solve(design.problem, regularizer, start).final


def _other(design: Design, regularizer: Regularizer) -> Tensor:
    return Ista(steps=STEPS, tolerance=TOLERANCE).solve(design.problem, regularizer).final


def _lasso(strength: float) -> Callable[[Design], Tensor]:
    return lambda design: _convex(design, get_regularizer("l1", strength=strength))


def _trimmed(k: int) -> Callable[[Design], Tensor]:
    r = get_regularizer("trimmed-l1", strength=universal_strength(), k=k)
    return lambda design: _other(design, r)


def _best_lasso(design: Design) -> Tensor:
    """The lasso at the strength that the truth says is best; each starts where the stronger one ended."""
    w, found = None, []
    for factor in HINDSIGHT:
        w = _convex(design, get_regularizer("l1", strength=factor * universal_strength()), w)
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


def _cut(threshold: float, regularizer: Regularizer, groups: bool) -> Callable[[Design], Tensor]:
    """Subgradient steps leave no zero: what is below the threshold is cut off, the rest refitted."""

    def fit(design: Design) -> Tensor:
        w = Subgradient(steps=HOYER_STEPS).solve(design.problem, regularizer).final
        size = w.norm(dim=1, keepdim=True) if groups else w.abs()
        return design.refitted(torch.where(size > threshold, w, 0.0))

    return fit


def entrants(grouped: bool = False) -> tuple[Entrant, ...]:
    """In the order of the table; the grouped design has its own."""
    return _for_groups() if grouped else _for_weights()


def _for_weights() -> tuple[Entrant, ...]:
    s = universal_strength()
    # Cutting off |w| <= s is worth s^2 / 2 a weight, and Hoyer-square counts weights.
    hoyer = get_regularizer("hoyer-square", strength=s * s / 2)
    mcp = get_regularizer("mcp", strength=s, gamma=GAMMA)
    return (
        Entrant("lasso, λ", "lasso", s, _lasso(s)),
        Entrant("lasso, 2 λ", "lasso", 2 * s, _lasso(2 * s)),
        Entrant("lasso, λ, refitted", "lasso-refitted", s, lambda d: d.refitted(_lasso(s)(d))),
        Entrant(f"trimmed L1, k = {NONZEROS}", "trimmed", NONZEROS, _trimmed(NONZEROS)),
        Entrant(f"trimmed L1, k = {FEWER}", "trimmed", FEWER, _trimmed(FEWER)),
        Entrant(f"trimmed L1, k = {MORE}", "trimmed", MORE, _trimmed(MORE)),
        Entrant("MCP, λ", "mcp", s, lambda d: _other(d, mcp)),
        Entrant(f"hard threshold, k = {NONZEROS}", "hard", NONZEROS, lambda d: _thresholded(d, NONZEROS)),
        Entrant(
            f"hard threshold, k = 1 to {NONZEROS}", "hard-rising", NONZEROS, lambda d: _thresholded(d, 1)
        ),
        Entrant("Hoyer-square, cut at λ, refitted", "hoyer-square", s, _cut(s, hoyer, groups=False)),
        Entrant("best lasso in hindsight", "lasso-hindsight", None, _best_lasso, knows_truth=True),
        _oracle(),
    )


def _for_groups() -> tuple[Entrant, ...]:
    s, group = universal_strength(), group_strength()
    lasso = get_regularizer("group-lasso", strength=group, dim=1)
    norm = group * GROUP**0.5
    hoyer = get_regularizer("group-hoyer-square", strength=norm * norm / 2, dim=1)
    return (
        Entrant("lasso, λ", "lasso", s, _lasso(s)),
        Entrant("group lasso, λ of groups", "group-lasso", group, lambda d: _convex(d, lasso)),
        Entrant(
            "group lasso, refitted", "group-lasso-refitted", group, lambda d: d.refitted(_convex(d, lasso))
        ),
        Entrant("group Hoyer-square, cut, refitted", "group-hoyer-square", group, _cut(norm, hoyer, True)),
        _oracle(),
    )


def _oracle() -> Entrant:
    fit: Callable[[Design], Tensor] = lambda design: design.refitted(design.truth)  # noqa: E731
    return Entrant("least squares on the true support", "oracle", None, fit, knows_truth=True)


def recovery(entrant: Entrant, designs: Sequence[Design], data: str) -> Row:
    """Means over the designs: true and false positives, ||w - truth||; and the errors one by one.

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
