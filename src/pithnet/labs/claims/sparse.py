"""Statements on regularizers, settled on linear models whose answer is known."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pithnet.labs.claims.verdicts import DEPENDS, FALSE, TRUE, Found
from pithnet.labs.linear.design import NONZEROS, Design, universal_strength
from pithnet.labs.linear.points import MU, STEPS, Method, points
from pithnet.solvers import Path, get_solver
from pithnet.tensor import get_regularizer

_STEPS = 1000
_LATE = 100
_DESIGNS = 5


def bias_of_soft_thresholding() -> Found:
    """Statement 5: weights on the true support, found by L1's soft threshold and by two rivals."""
    shrunk: dict[str, list[float]] = {"L1": [], "trimmed L1": [], "MCP": []}
    strength = universal_strength()
    for seed in range(_DESIGNS):
        design = Design.draw(seed)
        for name, regularizer in (
            ("L1", get_regularizer("l1", strength=strength)),
            ("trimmed L1", get_regularizer("trimmed-l1", strength=strength, k=NONZEROS)),
            ("MCP", get_regularizer("mcp", strength=strength)),
        ):
            found = get_solver("ista", steps=_STEPS).solve(design.problem, regularizer).final
            kept = (design.truth != 0) & (found != 0)
            shrunk[name].append(float((design.truth[kept].abs() - found[kept].abs()).mean()))
    means = {name: sum(values) / len(values) for name, values in shrunk.items()}
    numbers = {"strength": strength, "designs": _DESIGNS, "shrunk": means}
    return Found(FALSE if means["L1"] > strength / 2 else TRUE, numbers)


def group_lasso() -> Found:
    """Statement 6: the value and the prox of both formulas on one matrix with a small and a large row."""
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]], dtype=torch.float64)
    l2_inside = float(weight.norm(dim=1).sum())
    l1_inside = float(weight.abs().sum(1).norm())
    lasso = get_regularizer("group-lasso", dim=1)
    value = float(lasso.value(weight)) / 2**0.5  # pithnet weighs a group by the root of its size
    prox = lasso.prox(weight, 1.0 / 2**0.5)
    numbers = {
        "sum_of_l2": l2_inside,
        "l2_of_l1": l1_inside,
        "library": value,
        "large_row": prox[0].tolist(),
        "small_row": prox[1].tolist(),
    }
    agrees = abs(value - l2_inside) < abs(value - l1_inside)
    return Found(FALSE if agrees and not prox[1].any() else TRUE, numbers)


def smooth_convergence() -> Found:
    """Statement 7: changes of sign of the weights that belong at zero, subgradient against proximal step."""
    strengths = (0.2, 0.5, 1.0, 2.0)
    subgradient = [_sign_changes(Method("subgradient", s).follow(points("three"))) for s in strengths]
    proximal = [_sign_changes(Method("proximal", s * MU).follow(points("three"))) for s in strengths]
    curves = {
        "subgradient": Method("subgradient", 2.0).follow(points("three")).weights[:, 0].tolist(),
        "proximal": Method("proximal", 2.0 * MU).follow(points("three")).weights[:, 0].tolist(),
    }
    numbers = {
        "strengths": strengths,
        "steps": _LATE,
        "subgradient": subgradient,
        "proximal": proximal,
        "curves": curves,
    }
    return Found(TRUE if sum(proximal) < sum(subgradient) else FALSE, numbers)


def _sign_changes(path: Path) -> int:
    return int((path.weights[-(_LATE + 1) :].sign().diff(dim=0) != 0).sum())


def hard_and_soft() -> Found:
    """Statement 16: exact zeros after every step, keeping the 10 largest against shrinking all."""
    design = Design.draw(0)
    hard = get_solver("projected", steps=STEPS).solve(design.problem, get_regularizer("keep-k", k=NONZEROS))
    soft = get_solver("ista", steps=STEPS).solve(
        design.problem, get_regularizer("l1", strength=2 * universal_strength())
    )
    zeros = {"hard threshold": hard.exact_zeros[1:].tolist(), "soft threshold": soft.exact_zeros[1:].tolist()}
    steady = len(set(zeros["hard threshold"])) == 1
    rising = zeros["soft threshold"][-1] > zeros["soft threshold"][10]
    first = {name: counts[0] for name, counts in zeros.items()}
    numbers = {
        "weights": len(design.truth),
        "zeros": zeros,
        "first": first,
        "after_10": zeros["soft threshold"][10],
        "steps": STEPS,
    }
    numbers |= {"last": {name: counts[-1] for name, counts in zeros.items()}}
    return Found(TRUE if steady and rising else FALSE, numbers)


def hoyer_square() -> Found:
    """Statement 17: Hoyer-square against the count of non-zeros, for equal, uneven and noisy vectors."""
    hoyer = get_regularizer("hoyer-square")
    counts = (1, 2, 5, 10, 20, 50, 100)
    equal = [float(hoyer.value(_vector(n, 0.0))) for n in counts]
    uneven = [float(hoyer.value(_vector(n, 1.0))) for n in counts]
    noisy = [
        float(hoyer.value(_vector(n, 0.0) + 0.001 * torch.ones(100, dtype=torch.float64))) for n in counts
    ]
    scaled = float(hoyer.value(1000 * _vector(10, 0.0)))
    exact = all(abs(v - n) < 1e-9 for v, n in zip(equal, counts, strict=True)) and abs(scaled - 10) < 1e-9
    numbers = {"counts": counts, "equal": equal, "uneven": uneven, "noisy": noisy, "scaled": scaled}
    return Found(TRUE if exact else FALSE, numbers)


def _vector(count: int, spread: float) -> Tensor:
    """100 numbers of which `count` are not zero: all 1, or between 1 and 1 + spread times 4."""
    values = torch.zeros(100, dtype=torch.float64)
    values[:count] = 1 + spread * torch.linspace(0, 4, count, dtype=torch.float64)
    return values


def trimmed_l1() -> Found:
    """Statement 18: where trimmed L1 ends on three points, for strengths over five orders of magnitude."""
    truth = torch.tensor([0.0, -3.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    rows = []
    for strength in (0.001, 0.01, 0.1, 1.0, 10.0):
        regularizer = get_regularizer("trimmed-l1", strength=strength, k=2)
        path = get_solver("ista", steps=20 * STEPS, step_size=MU).solve(points("three"), regularizer)
        rows.append(
            {
                "strength": strength,
                "zeros": int(path.exact_zeros[-1]),
                "distance": float((path.final - truth).norm()),
                "settled": path.support_settled_at,
            }
        )
    solved = [r["strength"] for r in rows if r["distance"] < 1e-6]
    numbers: dict[str, Any] = {"rows": rows, "steps": 20 * STEPS, "solved_from": min(solved, default=None)}
    return Found(DEPENDS if 0 < len(solved) < len(rows) else TRUE if solved else FALSE, numbers)


def admm() -> Found:
    """Statement 19: time and memory of ADMM's steps beside those of the proximal gradient method."""
    design = Design.draw(0)
    regularizer = get_regularizer("l1", strength=universal_strength())
    times = {}
    for name in ("ista", "admm"):
        solver = get_solver(name, steps=_STEPS)
        times[name] = median(
            _seconds(lambda s=solver: s.solve(design.problem, regularizer)) for _ in range(5)
        )
    problem = design.problem
    factors = median(_seconds(lambda: torch.linalg.svd(problem.X, full_matrices=False)) for _ in range(5))
    n, m = problem.X.shape[1], problem.X.shape[0]
    numbers = {
        "weights": n,
        "steps": _STEPS,
        "microseconds": {name: 1e6 * t / _STEPS for name, t in times.items()},
        "factorisation_milliseconds": 1e3 * factors,
        "extra_vectors": 2,
        "extra_numbers": 2 * n + m * n + m,
    }
    # The extra vectors alone refute the statement; the times say how far the subproblems are from free.
    return Found(FALSE, numbers)


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
