"""Updates of a pass that works while a training runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pithnet.errors import RecipeError
from pithnet.passes.updates import Updates


@given(
    number=st.integers(1, 50), until=st.floats(0, 1), steps=st.integers(1, 400), seed=st.integers(0, 1_000)
)
def test_updates_rise_to_the_last_and_none_comes_twice(
    number: int, until: float, steps: int, seed: int
) -> None:
    updates, done = Updates(number, until), []
    for step in range(seed % steps, steps + 1):
        if updates.due(step / steps):
            done.append(updates.last)
    assert done == sorted(set(done))
    assert done[-1] == number - 1  # also where a training is over before, or its steps are fewer
    assert updates.reached == 1


def test_updates_are_spread_over_the_beginning_of_a_training() -> None:
    updates = Updates(4, until=0.5)
    when = [step for step in range(100) if updates.due(step / 100)]
    assert when == [0, 13, 25, 38]


def test_begun_and_reached_are_the_two_ends_of_the_part_at_hand() -> None:
    updates = Updates(4)
    assert updates.begun == 0
    assert updates.reached == 0
    assert updates.due(0.3)
    assert updates.begun == 0.25
    assert updates.reached == 0.5


def test_no_update_at_all_is_refused() -> None:
    with pytest.raises(RecipeError, match="updates is 0; use 1 or more"):
        Updates(0)
