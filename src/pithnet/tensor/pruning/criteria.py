"""Pruning criteria: one score per weight, higher means keep. A new one: a function, a line in CRITERIA."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pithnet.errors import RecipeError, lookup
from pithnet.tensor._checks import require_finite


class Criterion(Protocol):
    """weight (any shape, floating point) -> scores of the same shape, finite, >= 0."""

    def __call__(self, weight: Tensor, generator: torch.Generator | None = None) -> Tensor: ...


def magnitude(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """|w|: what is removed changes the weight tensor least in every l_p norm (Han et al. 2015)."""
    require_finite(weight, "magnitude: weight")
    return weight.detach().abs()


def random(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform [0, 1) scores in float32: the control every other criterion has to beat.

    Drawn on the generator's device (CPU by default), so a seed means the same mask on every device.
    """
    require_finite(weight, "random: weight")
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.rand(weight.shape, generator=generator, device=device).to(weight.device)


def lamp(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """w_i^2 / sum of w_j^2 over the weights at least as large as w_i; float64 (LAMP, Lee et al. 2021, eq. 3).

    Orders one tensor as magnitude does. A global ranking by it cannot empty a layer as long as it keeps one
    weight per layer: the largest weight of every non-zero tensor scores 1, the most there is.
    """
    require_finite(weight, "lamp: weight")
    flat = weight.detach().flatten().double()
    if flat.numel() == 0:
        return flat.reshape(weight.shape)
    # Dividing by the largest magnitude first keeps the squares of tiny weights from underflowing.
    peak = flat.abs().max()
    squares = (flat / torch.where(peak > 0, peak, torch.ones_like(peak))).square()
    # The sort is stable and the lower index first, so equal weights score in the order of the masks' ties.
    ascending, order = squares.sort(stable=True)
    at_least = ascending.flip(0).cumsum(0).flip(0)
    ranked = torch.where(at_least > 0, ascending / at_least, torch.zeros_like(ascending))
    return torch.empty_like(flat).scatter_(0, order, ranked).reshape(weight.shape)


CRITERIA: dict[str, Criterion] = {"magnitude": magnitude, "random": random, "lamp": lamp}


def get_criterion(name: str) -> Criterion:
    """The criterion called `name`; RecipeError with the nearest names if there is none."""
    return lookup("criterion", name, CRITERIA, RecipeError)
