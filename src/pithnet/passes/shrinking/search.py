"""How many channels of each group go: the most expensive network that a budget allows, in three ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from pithnet.errors import RecipeError, require_known
from pithnet.passes.shrinking.bill import Bill
from pithnet.passes.shrinking.choices import Choice

Search = Callable[[Sequence[Choice], Bill, int], list[int]]


def ranked_together(choices: Sequence[Choice], bill: Bill, budget: int) -> list[int]:
    """Ranks the channels of all groups together, and lets the lowest go until the budget is kept.

    A step takes a group from one allowed width to the next; its rank is the mean score of the channels that
    go in it. At the end every step that the budget allows is taken back, so that none is left which does.

    Args:
        choices: The groups.
        bill: What the network costs.
        budget: What it may cost; the least widths keep it.

    Returns:
        How many channels of each group go.
    """
    steps = sorted(_steps(choices))
    removed = removed_at(choices, [1.0] * len(choices))
    total, taken = bill.total(removed), []
    for _, group, number in steps:
        if total <= budget:
            break
        size = _size(choices[group], number)
        total -= bill.saved(group, size, removed)
        removed[group] += size
        taken.append((group, number))
    stuck = set()
    for group, number in reversed(taken):
        size = _size(choices[group], number)
        removed[group] -= size
        more = bill.saved(group, size, removed)
        if group in stuck or total + more > budget:
            removed[group] += size
            stuck.add(group)
        else:
            total += more
    return removed


def _steps(choices: Sequence[Choice]) -> list[tuple[float, int, int]]:
    """Returns score, group and number of each step; within a group they rise."""
    steps = []
    for group, choice in enumerate(choices):
        for number in range(len(choice.options) - 1):
            start, end = (choice.group.width - option for option in choice.options[number : number + 2])
            steps.append((sum(choice.scores[start:end]) / (end - start), group, number))
    return steps


def _size(choice: Choice, number: int) -> int:
    return choice.options[number] - choice.options[number + 1]


def same_share(choices: Sequence[Choice], bill: Bill, budget: int) -> list[int]:
    """Keeps the same share of every group: the largest that the budget allows, each rounded down.

    Args:
        choices: The groups.
        bill: What the network costs.
        budget: What it may cost; the least widths keep it.

    Returns:
        How many channels of each group go.
    """
    shares = sorted({Fraction(option, c.group.width) for c in choices for option in c.options})
    low, high = 0, len(shares)  # shares[low] is allowed, shares[high] is not
    while high - low > 1:
        middle = (low + high) // 2
        fits = bill.total(removed_at(choices, [float(shares[middle])] * len(choices))) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return removed_at(choices, [float(shares[low])] * len(choices))


def removed_at(choices: Sequence[Choice], shares: Sequence[float]) -> list[int]:
    """Returns how many channels of each group go where it keeps at most a share, or its least width."""
    return [c.group.width - c.at_most(share) for c, share in zip(choices, shares, strict=True)]


def shares_by_layer(choices: Sequence[Choice], rates: Mapping[str, float]) -> list[float]:
    """Returns the share that each group keeps where layers are given theirs; 1 where none is given.

    Args:
        choices: The groups.
        rates: The share of its outputs that a layer keeps, by name.

    Raises:
        RecipeError: A layer is unknown or keeps all its channels, a share is none in (0, 1], or layers whose
            channels go together have different ones.
    """
    layers = {layer for choice in choices for layer in choice.group.layers}
    for layer, rate in rates.items():
        require_known("layer with channels in rates", layer, layers, RecipeError)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise RecipeError(f"rates: {layer} keeps a share above 0 and up to 1, not {rate!r}")
        own = [choice for choice in choices if layer in choice.group.layers]
        if rate < 1 and all(choice.whole for choice in own):
            raise RecipeError(f"rates: {layer} cannot lose channels: {own[0].whole}")
    return [_share(choice, rates) for choice in choices]


def _share(choice: Choice, rates: Mapping[str, float]) -> float:
    own = {layer: rates[layer] for layer in choice.group.layers if layer in rates}
    if len(set(own.values())) > 1:
        (one, first), (other, second) = list(own.items())[:2]
        raise RecipeError(
            f"rates: {one} keeps {first:g} and {other} keeps {second:g} of channels that go together; "
            "give one of them"
        )
    return next(iter(own.values()), 1.0)


SEARCHES: dict[str, Search] = {"global": ranked_together, "uniform": same_share}
