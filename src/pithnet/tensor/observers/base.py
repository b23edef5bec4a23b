"""What an observer is: it sees batch after batch, then names the range to quantize, in fixed memory."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pithnet.errors import ModelError


class Observer:
    """A watcher of values of any shape: it sees batches, and keeps numbers of a fixed size, no values.

    Attributes:
        name: Its key in `OBSERVERS`.
        lowest: The smallest value so far.
        highest: The largest value so far.
        bits: What the range is for; only observers that weigh errors look at it.
    """

    name: ClassVar[str]

    def __init__(self, bits: int = 8) -> None:
        self.bits, self.seen = bits, 0
        self.lowest, self.highest = float("inf"), -float("inf")

    def observe(self, x: Tensor) -> None:
        """Sees a batch of floating-point values.

        Raises:
            ModelError: The batch holds NaN or inf.
        """
        if not x.numel():
            return
        low, high = (float(v) for v in torch.aminmax(x.detach()))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            bad = int((~torch.isfinite(x)).sum())
            raise ModelError(
                f"{bad} of {x.numel()} activations are NaN or inf; check the images and the model"
            )
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        self.update(x.detach(), low, high)
        self.seen += x.numel()

    def update(self, x: Tensor, low: float, high: float) -> None:
        """Takes in a batch of finite values and its extremes; for subclasses."""
        raise NotImplementedError

    def range(self) -> tuple[float, float]:
        """Returns (low, high) of the values to tell apart; what lies beyond is clipped.

        Raises:
            ModelError: Nothing has been seen.
        """
        if not self.seen:
            raise ModelError("no activations have been seen; calibrate with at least one batch")
        return self.found()

    def found(self) -> tuple[float, float]:
        """Returns the range, once something has been seen; for subclasses."""
        raise NotImplementedError
