"""The price of a bit while levels train: it follows from how many bits there are over the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

# By how much the logarithm of the price follows that of the bits over the budget, now and summed up; the sum
# takes in no more than a large excess at a time.
_PROPORTIONAL, _INTEGRAL, _LARGE = 20.0, 20.0, 0.015


@dataclass
class Price:
    """A price that rises while there are too many bits and falls while there are too few.

    Attributes:
        first: What it began with, 0 before that.
        value: What a bit costs now, in units of the loss.
        excess: The excess so far, summed up.
    """

    first: float = 0.0
    value: float = 0.0
    excess: float = 0.0

    def begin(self, first: float) -> None:
        """Sets the first price."""
        self.first = self.value = first

    def follow(self, bits: float, budget: float) -> None:
        """Sets the price anew for so many bits, of which the budget has so many; both are positive."""
        over = math.log(bits / budget)
        self.excess += max(-_LARGE, min(over, _LARGE))
        self.value = self.first * math.exp(_PROPORTIONAL * over + _INTEGRAL * self.excess)
