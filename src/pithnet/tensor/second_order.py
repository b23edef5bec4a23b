"""Second-order rounding: what one weight loses, the weights still to be rounded make good."""

from __future__ import annotations

import torch
from torch import Tensor

from pithnet.errors import ModelError
from pithnet.tensor.quantizers.base import Levels, Quantizer

_BLOCK = 128
_DAMPING = 0.01  # of the mean diagonal


def round_by_hessian(weight: Tensor, hessian: Tensor, quantizer: Quantizer, levels: Levels) -> Tensor:
    """Rounds weights to their levels so that weight @ x changes least (GPTQ, Frantar et al. 2022).

    Columns are rounded one after the other, those with the largest inputs first, and the error of each is
    taken back by the later ones: the update of Optimal Brain Surgeon (Hassibi & Stork 1993). Zeros are pruned
    weights and stay.

    Args:
        weight: (C, M), floating point.
        hessian: (M, M), symmetric: the mean of x x^T over the inputs x of the layer.
        quantizer: What rounds.
        levels: Scale and offset of every weight, (C, M) each.

    Returns:
        (C, M), the weights rounded.

    Raises:
        ModelError: The inputs, and so the hessian, are not finite.
    """
    if not bool(torch.isfinite(hessian).all()):
        raise ModelError("the inputs of the layer are NaN or inf; check the images and the layers before")
    order = hessian.diagonal().argsort(descending=True, stable=True)
    rest, kept = weight[:, order].double(), (weight != 0)[:, order]
    scale, offset = (part[:, order].double() for part in levels)
    feedback = _feedback(hessian[order][:, order].double())
    rounded = torch.zeros_like(rest)
    for start in range(0, rest.shape[1], _BLOCK):
        end = min(start + _BLOCK, rest.shape[1])
        errors = torch.zeros_like(rest[:, start:end])
        for i in range(start, end):
            column = Levels(scale[:, i], offset[:, i])
            found = quantizer.values(quantizer.codes(rest[:, i : i + 1], column), column)[:, 0]
            rounded[:, i] = torch.where(kept[:, i], found, 0.0)
            errors[:, i - start] = (rest[:, i] - rounded[:, i]) / feedback[i, i]
            rest[:, i:end] -= errors[:, i - start, None] * feedback[i, i:end]
        rest[:, end:] -= errors @ feedback[start:end, end:]
    return rounded[:, order.argsort()].to(weight.dtype)


def _feedback(hessian: Tensor) -> Tensor:
    """Returns the upper Cholesky factor of the damped inverse."""
    diagonal = hessian.diagonal()
    damping = _DAMPING * float(diagonal.mean()) or 1.0  # no input at all: every rounding is as good
    damped = hessian + damping * torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)
