"""The price of a bit at which a network takes so many bytes, or bits a weight: found on the real encoder."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from pithnet.artifact import encode_and_inspect
from pithnet.heartbeat import working
from pithnet.learn.batch import tensors
from pithnet.passes.ptq.rate.outcome import Outcome
from pithnet.passes.ptq.rate.rounding import QUICK, Effort
from pithnet.surgery import finalize, weighted_layers

_CLOSE, _ROUGH = 0.01, 0.03  # below the budget, and on either side of it where it is only looked for
_SLOPE = -0.35  # of the logarithm of the size by that of the price, where nothing is known yet
_STRIDE = math.log(64.0)  # the furthest that a guess goes beyond what has been tried
_TRIES = 24
_SAMPLES = 256  # that quick tries look at
_FIRST = 1e-5  # of the unit, where the search begins: any number would do

Measure = Callable[[nn.Module], float]


class Roundable(Protocol):
    """A network that can be rounded at any price."""

    plain: nn.Module

    @property
    def unit(self) -> float:
        """A price to begin with, whatever it is worth."""

    def round_at(self, price: float, effort: Effort, batches: Any = None) -> Outcome:
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
        low = max((p for p, size in self.sizes.items() if size > self.wanted), default=None)
        high = min((p for p, size in self.sizes.items() if size <= self.wanted), default=None)
        if low is None or high is None or high <= low:
            price = min(self.sizes, key=lambda p: abs(self.sizes[p] - self.wanted))
            step = (self.wanted - self.sizes[price]) / slope
            return price + max(-_STRIDE, min(_STRIDE, step))
        share = (self.sizes[low] - self.wanted) / (self.sizes[low] - self.sizes[high])
        return low + min(max(share, 0.1), 0.9) * (high - low)

    def slope(self) -> float:
        """Returns the slope between the two tries nearest to what is wanted."""
        near = sorted(self.sizes, key=lambda p: abs(self.sizes[p] - self.wanted))[:2]
        if len(near) < 2 or near[0] == near[1]:
            return _SLOPE
        found = (self.sizes[near[0]] - self.sizes[near[1]]) / (near[0] - near[1])
        return min(found, _SLOPE / 4)


def round_within(
    network: Roundable, batches: Sequence[Any] | None, wanted: float, measure: Measure, effort: Effort
) -> tuple[Outcome, float]:
    """Rounds a network so that it takes no more than wanted, and hardly less.

    Quick tries on some of the samples find about which price that takes, full ones the rest.

    Args:
        network: what is rounded.
        batches: all batches; None without any.
        wanted: the most that `measure` may say.
        measure: what the rounded network takes.
        effort: how long levels are looked for.

    Returns:
        What to write into the network, and what it takes then.
    """
    quick = _Search(math.log(wanted), {})
    some = None if batches is None else _some(batches)
    with working("look for the price of a bit", None, ""):
        for _ in range(_TRIES):
            price = quick.guess(math.log(_FIRST * network.unit), quick.slope())
            outcome = network.round_at(math.exp(price), QUICK, some)
            quick.sizes[price] = math.log(_size(network, outcome, measure))
            if abs(quick.sizes[price] - quick.wanted) < _ROUGH:
                break
            if len(quick.sizes) > 1 and max(quick.sizes) - min(quick.sizes) > 200:
                break  # the network never takes as much
    start = min(quick.sizes, key=lambda p: abs(quick.sizes[p] - quick.wanted))
    start += (quick.wanted - _CLOSE / 2 - quick.sizes[start]) / quick.slope()
    return _closely(network, start, quick.slope(), math.log(wanted), measure, effort)


def _closely(
    network: Roundable, start: float, slope: float, wanted: float, measure: Measure, effort: Effort
) -> tuple[Outcome, float]:
    search = _Search(wanted - _CLOSE / 2, {})
    best: tuple[float, Outcome] | None = None
    with working("round at the price of a bit", None, ""):
        for tried in range(_TRIES):
            price = search.guess(start, slope)
            outcome = network.round_at(math.exp(price), effort)
            size = math.log(_size(network, outcome, measure))
            search.sizes[price] = size
            if size <= wanted and (best is None or size > best[0]):
                best = size, outcome
            if best is not None and (best[0] > wanted - _CLOSE or tried >= 3):
                break
    if best is None:  # rounding alone cannot reach it, though zeros everywhere would
        best = size, outcome
    return best[1], math.exp(best[0])


def _size(network: Roundable, outcome: Outcome, measure: Measure) -> float:
    model = copy.deepcopy(network.plain)
    outcome.write_(model)
    return max(measure(model), 1e-9)


def _some(batches: Sequence[Any]) -> list[Any]:
    """Returns the first batches, so many that they hold some samples."""
    found, samples = [], 0
    for inputs, labels in batches:
        found.append((inputs, labels))
        samples += _length(inputs)
        if samples >= _SAMPLES:
            break
    return found


def _length(inputs: Any) -> int:
    return len(next(tensors(inputs)))
