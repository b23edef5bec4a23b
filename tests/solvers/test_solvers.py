"""Solvers on small problems with known answers, against scikit-learn, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import Lasso

from pithnet.errors import DataError, RecipeError
from pithnet.solvers import Fista, GradientDescent, Ista, LeastSquares, StepSizeWarning, get_solver
from pithnet.tensor import get_regularizer


def normal(m: int, n: int, seed: int = 0) -> LeastSquares:
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(m, n, generator=g, dtype=torch.float64)
    w = torch.zeros(n, dtype=torch.float64)
    w[:10] = 2.0
    return LeastSquares(X, X @ w + 0.5 * torch.randn(m, generator=g, dtype=torch.float64), 1 / (2 * m))


def test_fista_against_scikit_learn() -> None:
    data = normal(100, 400)
    for strength in (0.05, 0.2, 0.8):
        oracle = Lasso(alpha=strength, fit_intercept=False, tol=1e-12, max_iter=100_000)
        theirs = torch.from_numpy(oracle.fit(data.X.numpy(), data.y.numpy()).coef_)
        r = get_regularizer("l1", strength=strength)
        path = Fista(steps=20_000, tolerance=1e-10).solve(data, r)
        assert path.converged
        assert abs(float(path.objectives[-1] - data.loss(theirs) - r.value(theirs))) < 1e-6
        assert torch.equal(path.supports[-1], theirs != 0)


def test_fista_needs_fewer_steps_than_ista() -> None:
    data, r = normal(100, 400), get_regularizer("l1", strength=0.1)
    best = float(Fista(steps=20_000, tolerance=1e-12).solve(data, r).objectives[-1])
    steps = {}
    for name in ("ista", "fista"):
        gaps = get_solver(name, steps=2000).solve(data, r).objectives - best
        steps[name] = int((gaps < 1e-6).nonzero()[0])
    assert steps["fista"] < steps["ista"] / 2


def test_a_diagonal_problem_has_its_formula() -> None:
    X, y = torch.eye(3, dtype=torch.float64), torch.tensor([3.0, -0.4, -2.0], dtype=torch.float64)
    data = LeastSquares(X, y, scale=0.5)
    for name in ("ista", "fista", "admm"):
        path = get_solver(name, steps=500, tolerance=1e-14).solve(data, get_regularizer("l1", strength=0.5))
        torch.testing.assert_close(path.final, torch.tensor([2.5, 0.0, -1.5], dtype=torch.float64))
        assert path.exact_zeros[-1] == 1
    best = get_solver("projected").solve(data, get_regularizer("keep-k", k=1)).final
    assert best.tolist() == [3.0, 0.0, 0.0]


def test_gradient_descent_from_zero_ends_at_the_least_norm() -> None:
    data = normal(20, 50)
    final = GradientDescent(steps=20_000).solve(data).final
    torch.testing.assert_close(final, torch.linalg.pinv(data.X) @ data.y, atol=1e-9, rtol=0)


def test_a_path_that_never_changes_its_support_says_so() -> None:
    path = Ista(steps=5).solve(normal(10, 20), get_regularizer("l1", strength=1e6))
    assert path.support_settled_at == 0
    assert path.exact_zeros.tolist() == [20] * 6
    assert len(path) == 5


def test_admm_does_not_stop_while_its_two_halves_disagree() -> None:
    # z is 0 after the first step as it was before; x is not.
    data, r = normal(30, 10), get_regularizer("l1", strength=0.3)
    path = get_solver("admm", steps=3000, tolerance=1e-12, rho=0.01).solve(data, r)
    assert path.exact_zeros[0] == path.exact_zeros[1] == 10
    best = Fista(steps=3000, tolerance=1e-13).solve(data, r).objectives[-1]
    assert float(path.objectives[-1] - best) < 1e-10


def test_x_of_zeros_leaves_the_regularizer_alone() -> None:
    X, y = torch.zeros(2, 3, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    start = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    r = get_regularizer("l1", strength=0.5)
    for name in ("ista", "fista", "admm"):
        assert not get_solver(name, steps=50).solve(LeastSquares(X, y), r, start).final.any()


def test_a_step_far_over_the_bound_warns_then_says_where_it_diverged() -> None:
    data = normal(10, 20)
    with (
        pytest.warns(StepSizeWarning, match=r"step_size 1000 is over 2/L = "),
        pytest.raises(
            RecipeError, match=r"'gradient' diverged at step \d+: use a step_size of at most 2/L = "
        ),
    ):
        GradientDescent(steps=500, step_size=1000.0).solve(data)


def test_bad_requests_end_before_the_first_step() -> None:
    data, l1 = normal(5, 8), get_regularizer("l1")
    with pytest.raises(RecipeError, match=r"k is 9, but there are 8 to choose from"):
        get_solver("projected").solve(data, get_regularizer("keep-k", k=9))
    with pytest.raises(RecipeError, match=r"k is 9, but there are 8 to choose from"):
        get_solver("ista").solve(data, get_regularizer("trimmed-l1", k=9))
    with pytest.raises(RecipeError, match=r"strength is -0.1: use a finite number >= 0"):
        get_solver("ista").solve(data, get_regularizer("l1", strength=-0.1))
    with pytest.raises(RecipeError, match=r"'projected' needs a constraint, 'l1' is not that: use 'ista'"):
        get_solver("projected").solve(data, l1)
    with pytest.raises(RecipeError, match=r"'gradient' needs no regularizer, 'l1' would be ignored: use"):
        get_solver("gradient").solve(data, l1)
    with pytest.raises(RecipeError, match=r"'fista' needs a regularizer with a prox, none is given: use 'gr"):
        get_solver("fista").solve(data)
    with pytest.raises(DataError, match=r"start is \(5,\) torch.float64: this problem's weights are \(8,\)"):
        get_solver("ista").solve(data, l1, torch.zeros(5, dtype=torch.float64))
    with pytest.raises(DataError, match=r"start is \(8,\) torch.float32"):
        get_solver("ista").solve(data, l1, torch.zeros(8))
    with pytest.raises(DataError, match=r"start has numbers that are NaN or inf"):
        get_solver("ista").solve(data, l1, torch.full((8,), math.nan, dtype=torch.float64))
    with pytest.raises(RecipeError, match=r"unknown solver 'fist'\. Did you mean fista"):
        get_solver("fist")
    with pytest.raises(RecipeError, match=r"'admm' has no setting 'step_size'\."):
        get_solver("admm", step_size=0.1)
