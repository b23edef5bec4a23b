"""The largest network that keeps a budget of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pithnet.passes.shrinking.bill import Bill
from pithnet.passes.shrinking.choices import Choice
from pithnet.passes.shrinking.search import Search, removed_at


@dataclass(frozen=True)
class _Weighed:
    """A network that was weighed: how many channels of each group are gone, its parameters and its bytes."""

    removed: list[int]
    parameters: int
    bytes: int


class Overweight(Exception):
    """Even the least widths take more bytes than the budget; its argument is how many."""


def largest_within(
    search: Search,
    choices: Sequence[Choice],
    parameters: Bill,
    budget: int,
    weigh: Callable[[Sequence[int]], int],
) -> list[int]:
    """Finds the largest network of a search whose file keeps a budget of bytes.

    A file grows with the network's parameters, so the budget of parameters that takes these bytes is found by
    false position, with a bisection at every second look.

    Args:
        search: What chooses channels under a budget of parameters.
        choices: The groups.
        parameters: How many parameters the network has.
        budget: The bytes that the file may take.
        weigh: Gives the bytes of the file where so many channels of each group are gone.

    Returns:
        How many channels of each group go.

    Raises:
        Overweight: The file is larger than the budget with every group at its least width.
    """

    def weighed(removed: list[int]) -> _Weighed:
        return _Weighed(removed, parameters.total(removed), weigh(removed))

    high = weighed(removed_at(choices, [1.0] * len(choices)))
    if high.bytes <= budget:
        return high.removed
    low = weighed(removed_at(choices, [0.0] * len(choices)))
    if low.bytes > budget:
        raise Overweight(low.bytes)
    least, most, look = low.parameters, high.parameters, 0
    while most - least > 1:
        look += 1
        middle = (least + most) // 2 if look % 2 else _between(low, high, budget)
        middle = min(max(middle, least + 1), most - 1)
        removed = search(choices, parameters, middle)
        if removed == low.removed:
            least = middle
            continue
        found = weighed(removed)
        if found.bytes <= budget:
            low, least = found, middle
        else:
            high, most = found, found.parameters
    return low.removed


def _between(low: _Weighed, high: _Weighed, budget: int) -> int:
    """Returns the parameters at which a line through two networks crosses the budget."""
    slope = (high.parameters - low.parameters) / max(high.bytes - low.bytes, 1)
    return round(low.parameters + slope * (budget - low.bytes))
