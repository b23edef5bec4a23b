"""A multiple-choice knapsack: one choice for each item at the least total cost, within a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pithnet.errors import RecipeError

_MOST_UNITS = 1 << 20


def cheapest_choices(
    costs: Sequence[Sequence[float]], prices: Sequence[Sequence[int]], budget: int
) -> list[int]:
    """Chooses an option of each item, so that costs are least in sum and prices in sum at most `budget`.

    This is dynamic programming over what is spent, in the prices' common divisor: exact, until that makes
    more than a million units; then what options cost beyond the lowest price of their item is rounded up to a
    millionth of what the budget leaves for that. Never more than the budget is spent. Among equal costs the
    earlier option wins.

    Args:
        costs: For each item a row of its options' costs, finite.
        prices: For each item a row of its options' prices, whole numbers >= 0.
        budget: The most that may be spent.

    Returns:
        The index of each item's option.

    Raises:
        RecipeError: Even the lowest prices exceed the budget.
    """
    least = sum(min(row) for row in prices)
    if least > budget:
        raise RecipeError(
            f"the budget is {budget}, and the least that can be spent is {least}; allow that much"
        )
    # Beyond the lowest prices: those are nothing then, and no rounding up can make them exceed the budget.
    beyond = [[p - min(row) for p in row] for row in prices]
    unit = max(math.gcd(*(p for row in beyond for p in row)), 1)
    unit = max(unit, math.ceil((budget - least) / _MOST_UNITS))
    whole = [[-(-p // unit) for p in row] for row in beyond]
    units = (budget - least) // unit
    best = np.zeros(units + 1)  # least cost of the items so far, for every number of units they may spend
    taken = []
    for row_costs, row_prices in zip(costs, whole, strict=True):
        options = np.full((len(row_costs), units + 1), np.inf)
        for option, cost, price in zip(options, row_costs, row_prices, strict=True):
            option[price:] = best[: max(units + 1 - price, 0)] + cost
        taken.append(options.argmin(0).astype(np.int8 if len(row_costs) < 128 else np.int32))
        best = options.min(0)
    left, chosen = units, []
    for row_prices, choice in zip(reversed(whole), reversed(taken), strict=True):
        chosen.append(int(choice[left]))
        left -= row_prices[chosen[-1]]
    return chosen[::-1]
