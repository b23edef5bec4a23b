"""What holds for every solver with every regularizer: adding one to its list tests it here."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.solvers import SOLVERS, LeastSquares, Need, Path, StepSizeWarning, StepSolver, get_solver
from pithnet.tensor import REGULARIZERS, Regularizer, get_regularizer

PARAMETERS = {
    "keep-k": {"k": 3},
    "keep-k-groups": {"k": 2, "dim": 1},
    "trimmed-l1": {"k": 3},
    "group-lasso": {"dim": 1},
    "group-hoyer-square": {"dim": 1},
}
CONVEX = ("l1", "elastic-net", "group-lasso")
PAIRS = [(s, r) for s in SOLVERS for r in (None, *REGULARIZERS)]
FITTING = [(s, r) for s, r in PAIRS if SOLVERS[s].needs.met_by(None if r is None else REGULARIZERS[r])]  # type: ignore[arg-type]


def make(name: str | None, strength: float = 0.05) -> Regularizer | None:
    return None if name is None else get_regularizer(name, strength=strength, **PARAMETERS.get(name, {}))


def problem(seed: int = 0) -> LeastSquares:
    """30 points, 12 weights in 6 pairs, 4 of them not zero."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(30, 12, generator=g, dtype=torch.float64)
    w = torch.zeros(12, dtype=torch.float64)
    w[[0, 1, 6, 7]] = torch.tensor([2.0, -1.5, 1.0, 2.5], dtype=torch.float64)
    noise = 0.1 * torch.randn(30, generator=g, dtype=torch.float64)
    return LeastSquares(X, X @ w + noise, scale=1 / 60, shape=(6, 2))


def still(path: Path) -> float:
    """How far a proximal step moves the final weights: 0 exactly where they are optimal (convex r)."""
    assert path.regularizer is not None
    w, step = path.final, 1 / path.problem.lipschitz
    return float((w - path.regularizer.prox(w - step * path.problem.gradient(w), step)).norm())


@pytest.mark.parametrize(("solver", "regularizer"), FITTING)
def test_a_path_starts_at_the_start_has_every_step_and_goes_down(
    solver: str, regularizer: str | None
) -> None:
    start = torch.full((6, 2), 0.3, dtype=torch.float64)
    if regularizer is not None and REGULARIZERS[regularizer].is_constraint:
        start[2:] = 0.0
        start[1, 1] = 0.0
    before, data, r = start.clone(), problem(), make(regularizer)
    path = get_solver(solver, steps=60).solve(data, r, start)
    assert torch.equal(start, before)
    assert path.weights.shape == (61, 6, 2)
    assert torch.equal(path.weights[0], start)
    assert float(path.objectives[-1]) < 0.2 * float(path.objectives[0])
    for step in (0, 17, 60):
        w = path.weights[step]
        loss = (data.X @ w.flatten() - data.y).square().sum() / 60
        torch.testing.assert_close(path.losses[step], loss)
        expected = loss if r is None else loss + r.value(w)
        torch.testing.assert_close(path.objectives[step], expected)
        assert int(path.exact_zeros[step]) == int((w == 0).sum())
    settled = path.support_settled_at
    assert torch.equal(path.supports[settled:], path.supports[-1].expand(61 - settled, 6, 2))
    assert settled == 0 or not torch.equal(path.supports[settled - 1], path.supports[-1])


@pytest.mark.parametrize(("solver", "regularizer"), [p for p in PAIRS if p not in FITTING])
def test_a_mismatch_is_refused_and_what_is_advised_fits(solver: str, regularizer: str | None) -> None:
    with pytest.raises(RecipeError, match=rf"'{solver}' needs .*: use ") as refused:
        get_solver(solver).solve(problem(), make(regularizer))
    advised = re.findall(r"'([a-z]+)'", str(refused.value).split(": use ")[1])
    assert advised
    for name in advised:
        assert (name, regularizer) in FITTING, "for a lacking regularizer, the solver that needs none"


@pytest.mark.parametrize("regularizer", CONVEX)
@pytest.mark.parametrize("solver", [s for s, r in FITTING if r == "l1"])
def test_on_a_convex_objective_all_reach_the_same_minimum(solver: str, regularizer: str) -> None:
    data, r = problem(), make(regularizer)
    best = get_solver("fista", steps=3000, tolerance=1e-13).solve(data, r)
    assert still(best) < 1e-11
    hops = SOLVERS[solver].needs is Need.SUBGRADIENT
    short = {"step_size": 0.05 / data.lipschitz} if hops else {}
    path = get_solver(solver, steps=3000, tolerance=1e-13, **short).solve(data, r)
    gap = float(path.objectives.min() - best.objectives[-1])
    assert gap >= -1e-12
    if hops:
        assert gap < 1e-3, "it hops around the minimum, by the length of its steps"
        assert not path.converged
    else:
        assert gap < 1e-11
        assert path.converged
        assert len(path) < 3000


@pytest.mark.parametrize("regularizer", [r for s, r in FITTING if s == "ista"])
def test_a_proximal_step_below_one_over_l_never_raises_the_objective(regularizer: str) -> None:
    data, r = problem(1), make(regularizer)
    objectives = get_solver("ista", steps=200, step_size=0.99 / data.lipschitz).solve(data, r).objectives
    assert bool((objectives[1:].diff() <= 1e-12).all())


@pytest.mark.parametrize("solver", [s for s, r in FITTING if r == "l1"])
def test_without_strength_they_solve_least_squares(solver: str) -> None:
    data = problem()
    exact = torch.linalg.lstsq(data.X, data.y).solution
    path = get_solver(solver, steps=2000, tolerance=1e-13).solve(data, make("l1", 0.0))
    torch.testing.assert_close(path.final.flatten(), exact, atol=1e-9, rtol=0)


@pytest.mark.parametrize("solver", [n for n, kind in SOLVERS.items() if issubclass(kind, StepSolver)])
def test_a_step_over_the_bound_warns_with_it(solver: str) -> None:
    data, r = problem(), make(next(r for s, r in FITTING if s == solver))
    factor = SOLVERS[solver].bound
    bound = factor / float(2 * data.scale * torch.linalg.matrix_norm(data.X, 2) ** 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_solver(solver, steps=2, step_size=bound * 0.999).solve(data, r)
    message = rf"is over {factor:g}/L = {bound:.4g}, the bound of '{solver}': it may diverge; use "
    with pytest.warns(StepSizeWarning, match=message) as caught:
        get_solver(solver, steps=2, step_size=bound * 1.001).solve(data, r)
    assert caught[0].filename == __file__, "the warning points at the caller"


@pytest.mark.parametrize("solver", SOLVERS)
def test_settings_out_of_range_are_refused(solver: str) -> None:
    bad = [("steps", 0, "at least 1"), ("tolerance", -1.0, "finite number >= 0")]
    bad += [
        (name, value, "finite number > 0")
        for name in ("step_size", "rho")
        if hasattr(SOLVERS[solver], name)
        for value in (0.0, -0.1, float("nan"), float("inf"))
    ]
    for name, value, wanted in bad:
        with pytest.raises(RecipeError, match=rf"{name} is {value}: use a?n? ?{wanted}"):
            get_solver(solver, **{name: value})


def final(solver: str, r: Regularizer | None, data: LeastSquares) -> Tensor:
    return get_solver(solver, steps=40).solve(data, r).final


@pytest.mark.parametrize(("solver", "regularizer"), FITTING)
def test_the_same_path_for_the_data_in_another_order(solver: str, regularizer: str | None) -> None:
    data, r = problem(), make(regularizer)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    shuffled = LeastSquares(data.X[order], data.y[order], data.scale, data.shape)
    torch.testing.assert_close(final(solver, r, shuffled), final(solver, r, data), atol=1e-9, rtol=0)
