"""The levels of one layer: their steps from the price of a bit, then ever better choices of levels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pithnet.tensor.rate_distortion.contexts import Neighbours, Rates
from pithnet.tensor.rate_distortion.descent import descend
from pithnet.tensor.rate_distortion.in_order import Feedback, round_in_order
from pithnet.tensor.rate_distortion.problem import Rounding

REACH = 1500
_WIDTH = 1.1
_WIDEST = 1.5  # of a row's largest weight
_SCALE_BITS = 14.0  # what a file spends on the scale of a row


@dataclass(frozen=True)
class Effort:
    """How long levels are looked for.

    Attributes:
        passes: how often all columns are rounded in order, with the rates of the levels found so far.
        sweeps: of single levels after each pass, as if errors of the outputs knew nothing of each other.
        final: sweeps at the end, with all that errors of the outputs cost together.
        positions: of each sample's output, at which inputs and outputs are looked at.
    """

    passes: int = 1
    sweeps: int = 1
    final: int = 4
    positions: int = 48


QUICK = Effort(1, 0, 0, 12)


@dataclass(frozen=True)
class Part:
    """The weights of one layer or of one group of it.

    Attributes:
        weight: (O, K), what they should be.
        hessian: (K, K), second moments of the inputs.
        metric: (O, O), or (O,) for its diagonal: what errors of the outputs cost.
        neighbours: which columns are each other's contexts.
        kept: booleans (O, K), False where weights stay zero; None for none.
    """

    weight: Tensor
    hessian: Tensor
    metric: Tensor
    neighbours: Neighbours
    kept: Tensor | None = None

    @property
    def importance(self) -> Tensor:
        """The diagonal of the metric, (O,)."""
        return self.metric.diagonal() if self.metric.ndim == 2 else self.metric

    def steps(self, price: float, scales: str) -> Tensor:
        """Returns the distance of two levels for each row, (O,).

        At high rates the best step is the one whose squared error, step^2 / 12, has the price as its slope by
        the rate. It is a tenth wider here, because zeros cost less than other levels.

        Args:
            price: what a bit costs.
            scales: "free" where a scale of its own costs a row nothing; "stored" where it costs bits, and is
                given only where it saves more; "none" where there can be but one step.
        """
        half = self.importance.double() / 2
        if scales == "none" or (scales == "stored" and self._saved_by_scales(half) < _SCALE_BITS):
            half = half.mean().expand_as(half)
        steps = _WIDTH * (6 * price / (math.log(2) * half * self._feedback.curvature.double().mean())).sqrt()
        largest = self.weight.abs().amax(1).double()
        largest = torch.where(largest > 0, largest, 1.0)
        if bool((half == half[0]).all()):
            largest = largest.max().expand_as(largest)
        return torch.minimum(steps, _WIDEST * largest).maximum(largest / REACH).to(self.weight.dtype)

    def _saved_by_scales(self, half: Tensor) -> float:
        """Returns the bits that a row saves, on average, by a step of its own at high rates."""
        return self.weight.shape[1] * float(half.mean().log2() - half.log2().mean()) / 2

    @cached_property
    def _feedback(self) -> Feedback:
        return Feedback.of(self.hessian)

    def levels(self, steps: Tensor, price: float, effort: Effort) -> Tensor:
        """Returns levels, int64 (O, K), for these steps."""
        scaled = (self.weight / steps[:, None]).abs()
        rates = Rates.laplace(scaled.mean(), min(REACH + 1, int(scaled.max()) + 2))
        alone = Rounding(
            self.weight, self.hessian, self.importance, steps, price, rates, self.neighbours, self.kept
        )
        levels = alone.nearest()
        for _ in range(effort.passes):
            levels = round_in_order(alone, self._feedback)
            alone = alone.with_rates_of(levels)
            levels = descend(alone, levels, effort.sweeps)
            alone = alone.with_rates_of(levels)
        together = replace(alone, outputs=self.metric)
        for _ in range(effort.final):
            levels = descend(together, levels, 1)
            together = together.with_rates_of(levels)
        return levels
