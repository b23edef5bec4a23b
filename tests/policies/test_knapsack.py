"""A knapsack never spends more than its budget, however coarse its units."""

from __future__ import annotations

import numpy as np
import pytest

from pithnet.errors import RecipeError
from pithnet.policies.knapsack import cheapest_choices


@pytest.mark.parametrize("spread", [50, 10**4, 10**8])
def test_rounded_units_spend_no_more_than_the_budget(spread: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        prices = (rng.integers(10**6, 10**8, (6, 1)) + rng.integers(0, spread, (6, 3))).tolist()
        least, most = sum(map(min, prices)), sum(map(max, prices))
        costs = [[most - p for p in row] for row in prices]
        for budget in (least, least + 1, least + 1000, (least + most) // 2, 2 * most):
            found = cheapest_choices(costs, prices, budget)
            spent = sum(row[i] for row, i in zip(prices, found, strict=True))
            assert least <= spent <= budget
        assert spent == most, "all that harms least, where the budget allows it"


def test_the_lowest_prices_are_what_a_budget_must_allow() -> None:
    prices = [[3_000_001, 9_000_007], [5_000_011, 7_000_003]]
    assert cheapest_choices([[1, 0], [1, 0]], prices, 8_000_012) == [0, 0]
    with pytest.raises(RecipeError, match="the least that can be spent is 8000012"):
        cheapest_choices([[1, 0], [1, 0]], prices, 8_000_011)
