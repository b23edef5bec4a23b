"""Levels that lose least: the range that covers every weight is too wide for few levels."""

from __future__ import annotations

import torch
from torch import Tensor

from pithnet.errors import RecipeError, require_known
from pithnet.tensor.quantizers.base import Levels, Quantizer, positive

_WIDTHS = 48
_NARROWEST = 0.25
_TURNS = 20
FITS = ("range", "mse")


def fit_levels(quantizer: Quantizer, rows: Tensor, fit: str = "range") -> Levels:
    """Fits levels to rows.

    Args:
        quantizer: What rounds.
        rows: (R, M), floating point.
        fit: "range" for the quantizer's own levels, "mse" for narrower ones of least squared error.

    Raises:
        RecipeError: The fit is unknown.
    """
    require_known("fit", fit, FITS, RecipeError)
    return quantizer.fit(rows) if fit == "range" else _least_squares(quantizer, rows.detach())


def _least_squares(quantizer: Quantizer, rows: Tensor) -> Levels:
    """Returns the best of 48 widths for each row, from a quarter of the range to all of it.

    Where levels may lie anywhere, they then move to the nearest place of least error.
    """
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
    return _settled(quantizer, rows, best) if quantizer.free_offset else best


def _settled(quantizer: Quantizer, rows: Tensor, levels: Levels) -> Levels:
    """Improves levels and codes in turns, each the best for the other (Lloyd 1982, with even levels)."""
    kept = rows != 0
    least = _errors(quantizer, rows, levels)
    for _ in range(_TURNS):
        moved = _regressed(rows, quantizer.codes(rows, levels), kept, levels)
        errors = _errors(quantizer, rows, moved)
        better = errors < least
        if not bool(better.any()):
            break
        least = torch.where(better, errors, least)
        levels = Levels(*(torch.where(better, new, old) for new, old in zip(moved, levels, strict=True)))
    return levels


def _regressed(rows: Tensor, codes: Tensor, kept: Tensor, levels: Levels) -> Levels:
    """Fits the line of least squares through codes and weights (R, M); it stays where all codes are alike."""
    count = kept.sum(1).clamp(min=1)
    mean_code, mean = ((v * kept).sum(1) / count for v in (codes, rows))
    far = (codes - mean_code[:, None]) * kept
    spread, slope = far.square().sum(1), (far * rows).sum(1)
    usable = (spread > 0) & (slope > 0)
    scale = torch.where(usable, slope / torch.where(usable, spread, 1.0), levels.scale)
    return Levels(scale, torch.where(usable, mean / positive(scale) - mean_code, levels.offset))


def _span(quantizer: Quantizer, rows: Tensor, levels: Levels) -> Tensor:
    """Returns the scales (R,) with which the highest level is the largest magnitude."""
    top = quantizer.values(torch.full_like(rows[:, :1], quantizer.count - 1), levels)[:, 0]
    return torch.where(top > 0, levels.scale * rows.abs().amax(1) / top, levels.scale)


def _errors(quantizer: Quantizer, rows: Tensor, levels: Levels) -> Tensor:
    return (quantizer.nearest(rows, levels) - rows).square().sum(1)
