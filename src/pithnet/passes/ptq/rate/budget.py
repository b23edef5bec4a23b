"""The price of a bit at which a network takes so many bytes, or bits a weight: found on the real encoder."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from torch import nn

from pithnet.artifact import encode_and_inspect
from pithnet.errors import RecipeError
from pithnet.heartbeat import working
from pithnet.passes.ptq.rate.outcome import Outcome
from pithnet.passes.ptq.rate.rounding import Effort
from pithnet.passes.ptq.rate.sketches import Sketch, bits_at
from pithnet.surgery import finalize, weighted_layers

_CLOSE, _NEAR = 0.01, 0.03  # below the budget: what is enough, and what is after some tries
_SOON, _LATE = 3, 10
_SLOPE = -0.1  # of the logarithm of the size by that of the price: it is never taken to fall by less
_STRIDE = math.log(64.0)  # the furthest that a guess goes beyond what has been tried
_PATIENT, _LEAP = 8, 0.5  # tries before the price moves by so much at least, and then by twice as much
_GUESSES, _TRIES = 32, 24
_FIRST = 1e-5  # of the unit, where guesses begin: any number would do

Measure = Callable[[nn.Module], float]


class Roundable(Protocol):
    """A network that can be rounded at any price."""

    plain: nn.Module

    @property
    def unit(self) -> float:
        """A price to begin with, whatever it is worth."""

    def sketches(self) -> list[Sketch]:
        """Returns sketches of the layers, which guess the bits at a price."""

    def round_at(self, price: float, effort: Effort) -> Outcome:
        """Rounds all layers at a price."""


def coded_bits(names: Sequence[str]) -> Measure:
    """Returns a measure: the bits that the weights of these layers take in a file, averaged over them."""

    def measure(model: nn.Module) -> float:
        layers = dict(weighted_layers(model))
        keys = {key for name in names for key in layers[name].keys}
        weights = sum(layers[name].weight.numel() for name in names)
        _, account = encode_and_inspect(finalize(model))
        spent = sum(sum(t.bytes.values()) for t in account.tensors if t.name in keys)
        return 8 * spent / max(weights, 1)

    return measure


@dataclass
class _Search:
    """Sizes by prices, both as logarithms; the size falls with the price."""

    wanted: float
    sizes: dict[float, float]

    def guess(self, start: float, slope: float) -> float:
        """Returns the price to try next: within the bracket, or beyond what was tried."""
        if not self.sizes:
            return start
        crossed = self._crossed()
        if crossed is None:
            nearest = min(abs(size - self.wanted) for size in self.sizes.values())
            is_dear = min(self.sizes.values()) > self.wanted
            price = max(self.sizes) if is_dear else min(self.sizes)
            step = (-nearest if is_dear else nearest) / slope
            if len(self.sizes) >= _PATIENT:  # most of the size does not depend on the price: go faster
                least = _LEAP * 2.0 ** (len(self.sizes) - _PATIENT)
                step = math.copysign(max(abs(step), least), step)
            return price + max(-_STRIDE, min(_STRIDE, step))
        low, high = crossed
        share = (self.sizes[low] - self.wanted) / (self.sizes[low] - self.sizes[high])
        return low + min(max(share, 0.1), 0.9) * (high - low)

    def _crossed(self) -> tuple[float, float] | None:
        """Returns two prices next to each other, of which the lower gives too much and the higher does not.

        Sizes need not fall everywhere, so there may be more than one such pair.
        """
        prices = sorted(self.sizes)
        found = [(a, b) for a, b in pairwise(prices) if self.sizes[a] > self.wanted >= self.sizes[b]]
        return found[-1] if found else None

    def slope(self) -> float:
        """Returns the slope between the two tries nearest to what is wanted."""
        near = sorted(self.sizes, key=lambda p: abs(self.sizes[p] - self.wanted))[:2]
        if len(near) < 2 or near[0] == near[1]:
            return 3 * _SLOPE
        return min((self.sizes[near[0]] - self.sizes[near[1]]) / (near[0] - near[1]), _SLOPE)


@dataclass(frozen=True)
class Budget:
    """What a rounded network may take.

    Attributes:
        wanted: The most that `measure` may say.
        least: What it says where all weights are zero.
        of_bit: By how much it rises with a bit of the weights.
        measure: Of a network.
    """

    wanted: float
    least: float
    of_bit: float
    measure: Measure


def round_within(network: Roundable, budget: Budget, effort: Effort) -> tuple[Outcome, float]:
    """Rounds a network so that it takes no more than wanted, and hardly less.

    Sketches of the layers say about which price that takes, and how the size changes with it; networks that
    are rounded and measured say the rest.

    Args:
        network: What is rounded.
        budget: What it may take.
        effort: How long levels are looked for.

    Returns:
        What to write into the network, and what it takes then.

    Raises:
        RecipeError: No price leads to so little, though zeros for all weights would.
        ModelError: A layer's inputs or outputs are NaN or inf.
    """
    start, slope = _guessed(network, budget)
    wanted = math.log(budget.wanted)
    search = _Search(wanted - _CLOSE / 2, {})
    best: tuple[float, Outcome] | None = None
    with working("round at the price of a bit", None, ""):
        for tried in range(_TRIES):
            price = search.guess(start, slope if tried < 2 else search.slope())
            outcome = network.round_at(math.exp(price), effort)
            size = math.log(_size(network, outcome, budget.measure))
            search.sizes[price] = size
            if size <= wanted and (best is None or size > best[0]):
                best = size, outcome
            if best is None:
                continue
            if best[0] > wanted - (_CLOSE if tried < _SOON else _NEAR) or tried >= _LATE:
                break
    if best is None:
        raise RecipeError(
            f"no price of a bit brings the network below {math.exp(min(search.sizes.values())):,.4g}, "
            f"{budget.wanted:,.4g} was asked for; give more, or remove channels first (pn.shrink)"
        )
    return best[1], math.exp(best[0])


def _guessed(network: Roundable, budget: Budget) -> tuple[float, float]:
    """Returns about which price the budget takes, as a logarithm, and the slope of the size there."""
    sketches = network.sketches()
    search = _Search(math.log(budget.wanted) - _CLOSE / 2, {})
    for _ in range(_GUESSES):
        price = search.guess(math.log(_FIRST * network.unit), search.slope())
        size = budget.least + budget.of_bit * bits_at(sketches, math.exp(price))
        search.sizes[price] = math.log(max(size, 1e-9))
        if abs(search.sizes[price] - search.wanted) < _CLOSE / 10:
            break
        if max(search.sizes) - min(search.sizes) > 200:
            break  # the network never takes as much
    return min(search.sizes, key=lambda p: abs(search.sizes[p] - search.wanted)), search.slope()


def _size(network: Roundable, outcome: Outcome, measure: Measure) -> float:
    model = copy.deepcopy(network.plain)
    outcome.write_(model)
    return max(measure(model), 1e-9)
