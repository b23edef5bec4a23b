"""Levels that lose least: the range that covers every weight is too wide for few levels."""

from __future__ import annotations

import torch
from torch import Tensor

from pithnet.errors import RecipeError, nearest
from pithnet.tensor.quantizers.base import Levels, Quantizer

_WIDTHS = 48
_NARROWEST = 0.25
FITS = ("range", "mse")


def fit_levels(quantizer: Quantizer, rows: Tensor, fit: str = "range") -> Levels:
    """Levels for rows (R, M): the quantizer's own ("range") or narrower ones of least squared error ("mse").

    Raises RecipeError for an unknown fit.
    """
    if fit not in FITS:
        raise RecipeError(f"unknown fit {fit!r}.{nearest(fit, FITS)}")
    return quantizer.fit(rows) if fit == "range" else _least_squares(quantizer, rows.detach())


def _least_squares(quantizer: Quantizer, rows: Tensor) -> Levels:
    """The best of 48 widths, from a quarter of the range to all of it, for each row."""
    widest = quantizer.fit(rows)
    if quantizer.learned:
        widest = Levels(_span(quantizer, rows, widest), widest.offset)
    best, least = widest, _errors(quantizer, rows, widest)
    for width in torch.linspace(_NARROWEST, 1, _WIDTHS + 1)[:-1].tolist():
        narrower = Levels(widest.scale * width, widest.offset)
        errors = _errors(quantizer, rows, narrower)
        better = errors < least
        least = torch.where(better, errors, least)
        best = Levels(torch.where(better, narrower.scale, best.scale), best.offset)
    return best


def _span(quantizer: Quantizer, rows: Tensor, levels: Levels) -> Tensor:
    """The scales (R,) with which the highest level is the largest magnitude."""
    top = quantizer.values(torch.full_like(rows[:, :1], quantizer.count - 1), levels)[:, 0]
    return torch.where(top > 0, levels.scale * rows.abs().amax(1) / top, levels.scale)


def _errors(quantizer: Quantizer, rows: Tensor, levels: Levels) -> Tensor:
    return (quantizer.nearest(rows, levels) - rows).square().sum(1)
