"""Cholesky factors of covariances that rounding may have left a little below zero."""

from __future__ import annotations

import torch
from torch import Tensor

from pithnet.errors import ModelError

_FIRST, _MORE, _TRIES = (
    1e-5,
    10.0,
    8,
)  # of the mean diagonal: what is added first, by how much more, how often


def cholesky_factor(matrix: Tensor) -> Tensor:
    """Returns the lower triangular L with L L^T = the matrix, or a little more on its diagonal.

    Sums in floating point may leave a covariance with eigenvalues below zero, of which there is no factor.
    Such a matrix gets more and more on its diagonal until it has one.

    Args:
        matrix: (..., K, K), symmetric, floating point.

    Raises:
        ModelError: The matrix is far from positive definite, or holds NaN or inf.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    share = _FIRST
    for _ in range(_TRIES):
        if not bool(failed.any()):
            return factor
        mean = matrix.diagonal(dim1=-2, dim2=-1).abs().mean(-1, keepdim=True)
        more = matrix.clone()
        more.diagonal(dim1=-2, dim2=-1).add_(share * torch.where(mean > 0, mean, 1.0))
        factor, failed = torch.linalg.cholesky_ex(more)
        share *= _MORE
    raise ModelError("the covariance of its inputs cannot be used; are they NaN, inf, or beyond the format?")
