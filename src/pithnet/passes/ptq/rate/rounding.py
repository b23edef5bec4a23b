"""The levels of one layer: their steps from the price of a bit, then ever better choices of levels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pithnet.passes.ptq.rate.sketches import REACH, Sketch, step_widths
from pithnet.tensor.rate_distortion.contexts import Neighbours, Rates
from pithnet.tensor.rate_distortion.descent import descend
from pithnet.tensor.rate_distortion.in_order import Feedback, round_in_order
from pithnet.tensor.rate_distortion.problem import Rounding

_SKETCHED = 16  # rows, at most
_SCALE_BITS = 14.0  # what a file spends on the scale of a row


@dataclass(frozen=True)
class Effort:
    """How long levels are looked for.

    Attributes:
        passes: How often all columns are rounded in order, with the rates of the levels found so far.
        sweeps: Of single levels after each pass, as if errors of the outputs knew nothing of each other.
        final: Sweeps at the end, with all that errors of the outputs cost together.
        positions: Of each sample's output, at which inputs and outputs are looked at.
    """

    passes: int = 1
    sweeps: int = 1
    final: int = 4
    positions: int = 48


@dataclass(frozen=True)
class Part:
    """The weights of one layer or of one group of it.

    Attributes:
        weight: (O, K), what they should be.
        hessian: (K, K), second moments of the inputs.
        metric: (O, O), or (O,) for its diagonal: what errors of the outputs cost.
        neighbours: Which columns are each other's contexts.
        kept: Booleans (O, K), False where weights stay zero; None for none.
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

        Args:
            price: What a bit costs.
            scales: "free" where a scale of its own costs a row nothing; "stored" where it costs bits, and is
                given only where it saves more; "none" where there can be but one step.
        """
        steps = step_widths(self.worth(scales), self._largest(scales), price)
        return steps.to(self.weight.dtype)

    def worth(self, scales: str) -> Tensor:
        """Returns what the square of an error of a weight costs in each row, (O,), in double precision.

        Args:
            scales: What `steps` takes; where rows have one step, they are worth the same.
        """
        half = self.importance.double() / 2
        if scales == "none" or (scales == "stored" and self._saved_by_scales(half) < _SCALE_BITS):
            half = half.mean().expand_as(half)
        return half * self._feedback.curvature.double().mean()

    def sketch(self, scales: str) -> Sketch:
        """Returns some rows, by which it is guessed how many bits all of them take.

        Args:
            scales: What `steps` takes.
        """
        some = torch.arange(0, len(self.weight), -(-len(self.weight) // _SKETCHED))
        share = len(self.weight) / len(some)
        return Sketch(self.weight[some], self.worth(scales)[some], self._largest(scales)[some], share)

    def _largest(self, scales: str) -> Tensor:
        worth = self.worth(scales)
        largest = self.weight.abs().amax(1).double()
        largest = torch.where(largest > 0, largest, 1.0)
        return largest.max().expand_as(largest) if bool((worth == worth[0]).all()) else largest

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
