"""How many bits a network takes at a price, guessed from some rows of its layers before any is rounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pithnet.tensor.rate_distortion.contexts import Neighbours, Rates

REACH = 1500
_WIDTH = 1.1
_WIDEST = 1.5  # of a row's largest weight
_ROUNDS = 2  # of levels from rates and rates from levels


def step_widths(worth: Tensor, largest: Tensor, price: float) -> Tensor:
    """Returns the distance of two levels for each row, (O,).

    At high rates the best step is the one whose squared error, step^2 / 12, has the price as its slope by the
    rate. It is a tenth wider here, because zeros cost less than other levels.

    Args:
        worth: (O,), what the square of an error of a weight costs.
        largest: (O,), the largest weight that the levels have to reach.
        price: What a bit costs.
    """
    steps = _WIDTH * (6 * price / (math.log(2) * worth)).sqrt()
    return torch.minimum(steps, _WIDEST * largest).maximum(largest / REACH)


@dataclass(frozen=True)
class Sketch:
    """Some rows of a layer, as if errors of weights knew nothing of each other.

    Attributes:
        weight: (R, K).
        worth: (R,), what the square of an error of a weight costs.
        largest: (R,), the largest weight that a row's levels have to reach.
        share: For how many rows each of these stands.
    """

    weight: Tensor
    worth: Tensor
    largest: Tensor
    share: float

    def bits(self, price: float) -> float:
        """Returns about how many bits all rows take at a price, by the entropy of their levels."""
        steps = step_widths(self.worth, self.largest, price)
        scaled = (self.weight / steps[:, None]).flatten()
        square = (self.worth * steps.square() / price)[:, None].expand_as(self.weight).flatten()
        levels, reach = scaled.round().long(), int(scaled.abs().max()) + 1
        alone = Neighbours.none(1)
        for _ in range(_ROUNDS):
            bits = Rates.of(levels[:, None], alone, reach).bits[0]
            toward_zero = levels - levels.sign()
            tried = torch.stack([levels, toward_zero, torch.zeros_like(levels)], 1)
            costs = (scaled[:, None] - tried).square() * square[:, None] + bits[tried + reach]
            levels = tried.gather(1, costs.argmin(1, keepdim=True))[:, 0]
        rates = Rates.of(levels[:, None], alone, reach)
        return self.share * float(rates.total(levels[:, None], alone))


def bits_at(sketches: Sequence[Sketch], price: float) -> float:
    """Returns about how many bits all layers take at a price."""
    return sum(sketch.bits(price) for sketch in sketches)
