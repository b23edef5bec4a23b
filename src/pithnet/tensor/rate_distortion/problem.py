"""What it is to round a matrix of weights: to which levels, and what errors and bits cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pithnet.tensor.rate_distortion.contexts import Neighbours, Rates


@dataclass(frozen=True)
class Rounding:
    """A matrix of weights to be rounded to whole multiples of steps, and what errors and bits cost.

    The cost of levels q is 1/2 tr(G E H E^T) + price * bits(q), with E = target - q * steps[:, None].

    Attributes:
        target: (O, K), the weights.
        hessian: H, (K, K), positive definite: second moments of the layer's inputs.
        outputs: G, (O, O), positive semidefinite with a positive diagonal: what errors of the outputs cost
            together; or (O,), its diagonal, where nothing else is in it.
        steps: (O,), the distance of two levels in each row.
        price: What a bit costs.
        rates: The bits of each level in its context.
        neighbours: Which columns are each other's contexts.
        kept: Booleans (O, K), False where the level is zero whatever it costs; None for none.
    """

    target: Tensor
    hessian: Tensor
    outputs: Tensor
    steps: Tensor
    price: float
    rates: Rates
    neighbours: Neighbours
    kept: Tensor | None = None

    def cost(self, levels: Tensor) -> Tensor:
        """Returns the cost of levels, int64 (O, K), as a scalar in double precision."""
        error = (self.target - levels * self.steps[:, None]).double()
        outputs = self.outputs.double()
        pull = outputs @ error if outputs.ndim == 2 else outputs[:, None] * error
        distortion = (pull @ self.hessian.double() * error).sum() / 2
        return distortion + self.price * self.rates.total(levels, self.neighbours)

    def with_rates_of(self, levels: Tensor) -> Rounding:
        """Returns the same problem with the rates that these levels have."""
        return replace(self, rates=Rates.of(levels, self.neighbours, self.rates.reach))

    def nearest(self) -> Tensor:
        """Returns the nearest levels, int64 (O, K), whatever they cost."""
        reach = self.rates.reach
        found = (self.target / self.steps[:, None]).round().clamp(-reach, reach).long()
        return found if self.kept is None else torch.where(self.kept, found, 0)

    def around(self, wanted: Tensor) -> Tensor:
        """Returns levels to try for real numbers (N, 1), int64 (N, 4): the three around each, and zero."""
        reach = self.rates.reach
        near = wanted.round().clamp_(-reach, reach).long()
        lower, upper = (near - 1).clamp_(min=-reach), (near + 1).clamp_(max=reach)
        return torch.cat([near, lower, upper, torch.zeros_like(near)], 1)

    @cached_property
    def importance(self) -> Tensor:
        """The diagonal of G, (O,)."""
        return self.outputs.diagonal() if self.outputs.ndim == 2 else self.outputs

    @cached_property
    def bits_of_square(self) -> Tensor:
        """How many bits a squared error of one level costs, times H_jj of its column, (O,)."""
        return self.importance * self.steps.square() / (2 * self.price)

    def of_outputs(self, errors: Tensor) -> Tensor:
        """Returns G times errors, (O,) or (O, K)."""
        if self.outputs.ndim == 2:
            return self.outputs @ errors
        return (self.outputs if errors.ndim == 1 else self.outputs[:, None]) * errors
