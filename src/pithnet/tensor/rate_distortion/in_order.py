"""Rounding column by column, the error of each made good by the later ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pithnet.tensor.rate_distortion.factors import cholesky_factor
from pithnet.tensor.rate_distortion.problem import Rounding

_BLOCK = 64


@dataclass(frozen=True)
class Feedback:
    """How later columns make good the errors of earlier ones: H = (A D^1/2) (A D^1/2)^T with A upper.

    For errors e of a row, e H e^T is the sum over columns j of d_j (e_j + sum_{k < j} e_k a_kj)^2, so that
    each column does best to round its weight plus that sum. This is LDLQ (Chee et al. 2023), which gives what
    GPTQ gives.

    Attributes:
        shares: A, (K, K), upper triangular with ones on its diagonal.
        curvature: d, (K,).
    """

    shares: Tensor
    curvature: Tensor

    @classmethod
    def of(cls, hessian: Tensor) -> Feedback:
        """Returns the feedback for second moments H of inputs, (K, K).

        Raises:
            ModelError: They are far from positive definite, or NaN or inf.
        """
        factor = cholesky_factor(hessian.flip(0, 1)).flip(0, 1)
        diagonal = factor.diagonal().clone()
        return cls(factor.div_(diagonal), diagonal.square())


def round_in_order(problem: Rounding, feedback: Feedback | None = None, block: int = _BLOCK) -> Tensor:
    """Rounds column by column; the error of each is made good by the later ones, as far as inputs allow it.

    This is GPTQ (Frantar et al. 2022) in which a level pays for its bits too: that of least s d (w - level)^2
    + price * bits is taken, with s half the diagonal of G, and d the curvature that is left once the later
    columns have made good what they can. Other entries of G have no say.

    Args:
        problem: What is rounded.
        feedback: Of the problem's inputs, where it is known already.
        block: Columns whose errors are handed on together; it changes nothing but the time.

    Returns:
        The levels, int64 (O, K).
    """
    feedback = Feedback.of(problem.hessian) if feedback is None else feedback
    scaled, size = problem.target / problem.steps[:, None], problem.target.shape[1]
    levels = torch.zeros(len(scaled), size + 1, dtype=torch.int64, device=scaled.device)
    left, above = problem.neighbours.left.tolist(), problem.neighbours.above.tolist()
    errors = torch.zeros_like(scaled)
    for start in range(0, size, block):
        end = min(start + block, size)
        wanted = scaled[:, start:end] + errors[:, :start] @ feedback.shares[:start, start:end]
        for j in range(start, end):
            sums = levels[:, left[j]] + levels[:, above[j]]
            levels[:, j] = _cheapest(problem, sums, wanted[:, j - start], feedback.curvature[j], j)
            errors[:, j] = scaled[:, j] - levels[:, j]
            shares = feedback.shares[j, j + 1 : end]
            wanted[:, j + 1 - start :].addcmul_(errors[:, j, None], shares)
    return levels[:, :size].contiguous()


def _cheapest(problem: Rounding, sums: Tensor, wanted: Tensor, curvature: Tensor, j: int) -> Tensor:
    """Returns the levels of column j that cost least, int64 (O,), where levels before it have these sums."""
    rates = problem.rates
    tried = problem.around(wanted[:, None])
    if problem.kept is not None:
        tried *= problem.kept[:, j, None]
    costs = (wanted[:, None] - tried).square_().mul_((problem.bits_of_square * curvature)[:, None])
    costs += rates.bits.take(rates.of_sum.take(sums + 2 * rates.reach)[:, None] + tried)
    return tried.gather(1, costs.argmin(1, keepdim=True))[:, 0]
