"""The loss by hand and against autograd; what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from pithnet.errors import DataError, PithError, RecipeError
from pithnet.solvers import LeastSquares

X = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], dtype=torch.float64)
Y = torch.tensor([1.0, -1.0], dtype=torch.float64)


def test_loss_gradient_and_curvature_by_hand() -> None:
    data = LeastSquares(X, Y, scale=0.5)
    w = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64)  # residuals -1 and 6
    assert float(data.loss(w)) == 18.5
    assert data.gradient(w).tolist() == [-1.0, 20.0, 5.5]
    assert data.loss(torch.stack([w, data.zeros()])).tolist() == [18.5, 1.0]
    assert data.lipschitz == pytest.approx(float(torch.linalg.eigvalsh(X.T @ X).max()))
    assert data.mean_curvature == pytest.approx(float(torch.linalg.eigvalsh(X.T @ X).mean()))


@pytest.mark.parametrize(("m", "n"), [(2, 6), (7, 6), (6, 6)])
def test_shapes_scales_and_prox_against_autograd(m: int, n: int) -> None:
    g = torch.Generator().manual_seed(n + m)
    x, y, v = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((m, n), (m,), (3, 2)))
    data = LeastSquares(x, y, scale=0.3, shape=(3, 2))
    w = v.clone().requires_grad_()
    loss = 0.3 * (x @ w.flatten() - y).square().sum()
    (slope,) = torch.autograd.grad(loss, w)
    torch.testing.assert_close(data.loss(v), loss.detach())
    torch.testing.assert_close(data.gradient(v), slope)
    z = data.prox(v, rho=0.7)
    torch.testing.assert_close(data.gradient(z) + 0.7 * (z - v), torch.zeros_like(z), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((X, Y[:1]), DataError, r"X has 2 rows but y has 1 numbers: give one y for every row of X"),
        ((X.clone().fill_(math.nan), Y), DataError, r"X: 6 of 6 numbers are NaN or inf; mend the data first"),
        ((X, Y * math.inf), DataError, r"y: 2 of 2 numbers are NaN or inf"),
        ((X.float(), Y), DataError, r"X is torch.float32: the solvers work in float64; use X.double\(\)"),
        ((X, torch.tensor([1, 2])), DataError, r"y is torch.int64: .* use y.double\(\)"),
        ((X, Y[:, None]), DataError, r"y has shape \(2, 1\): it must be \(points,\)"),
        ((X[0], Y), DataError, r"X has shape \(3,\): it must be \(points, weights\)"),
        ((X[:0], Y[:0]), DataError, r"X has shape \(0, 3\): .*none of them 0"),
        ((X, Y, 0.0), RecipeError, r"scale is 0.0: use a finite number > 0"),
        ((X, Y, math.nan), RecipeError, r"scale is nan"),
        ((X, Y, 1.0, (2, 2)), RecipeError, r"shape \(2, 2\) holds 4 weights, X has 3"),
    ],
)
def test_bad_data_is_refused(arguments: tuple, kind: type[PithError], message: str) -> None:
    with pytest.raises(kind, match=message):
        LeastSquares(*arguments)
