"""Levels that a training has moved, brought within a budget of the real encoder."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pithnet.passes.ptq.rate.priced_weights import PricedWeight

_LEAST_BITS = 1e-3  # saved, however little a lower level saves: what divides by it stays finite


@torch.no_grad()
def round_within_(
    weights: Sequence[PricedWeight], squares: Sequence[float], size: Callable[[], float], wanted: float
) -> None:
    """Rounds weights to their nearest levels, and some of them a level lower, in place, to keep a budget.

    Lower is nearer to zero. Those weights go first for which a bit saved costs least: a lower level costs
    what the squared error grows by, times the mean squared gradient of the weight's levels, which stands for
    their curvature (Theis et al. 2018, eq. 4). Weights that do not train keep their levels.

    Args:
        weights: The weights, with levels between which they lie.
        squares: The mean squared gradient of the loss by the levels of each weight.
        size: What the network takes as the weights are.
        wanted: The most that it may take.
    """
    scaled = [weight.scaled() for weight in weights]
    levels = [values.round().long() for values in scaled]
    _write(weights, levels)
    while size() > wanted and any(
        weight.trains and bool(q.any()) for weight, q in zip(weights, levels, strict=True)
    ):
        order = torch.cat(
            [
                _price(weight, values, q, square).flatten()
                for weight, values, q, square in zip(weights, scaled, levels, squares, strict=True)
            ]
        ).argsort(stable=True)
        lower = [int(q.count_nonzero()) for weight, q in zip(weights, levels, strict=True) if weight.trains]
        order = order[: sum(lower)]

        def fits(count: int, levels: list[Tensor] = levels, order: Tensor = order) -> bool:
            _write(weights, _lowered(levels, order[:count]))
            return size() <= wanted

        count = 1 + bisect_left(range(1, len(order)), True, key=fits)
        levels = _lowered(levels, order[:count])
        _write(weights, levels)


def _price(weight: PricedWeight, scaled: Tensor, levels: Tensor, square: float) -> Tensor:
    """Returns what a bit costs that a weight saves one level lower, (O, K); inf where it cannot be lower."""
    if not weight.trains:
        return torch.full_like(scaled, torch.inf)
    rates = weight.rates(levels)
    loss = 1 + 2 * (scaled.abs() - levels.abs())
    # The slope half a level lower is that between the two levels.
    lower = rates.slopes(levels - levels.sign() / 2, weight.neighbours) * levels.sign()
    return torch.where(levels == 0, torch.inf, square * loss / lower.clamp(min=_LEAST_BITS))


def _lowered(levels: Sequence[Tensor], chosen: Tensor) -> list[Tensor]:
    """Returns the levels, those of the chosen weights one lower; weights are counted through all tensors."""
    flat = torch.cat([q.flatten() for q in levels])
    flat[chosen] -= flat[chosen].sign()
    return [
        part.view(q.shape) for part, q in zip(flat.split([q.numel() for q in levels]), levels, strict=True)
    ]


def _write(weights: Sequence[PricedWeight], levels: Sequence[Tensor]) -> None:
    for weight, q in zip(weights, levels, strict=True):
        weight.write(q)
