"""Learning-rate schedules: where they start, peak and end."""

from __future__ import annotations

import math

import pytest

from pithnet.errors import RecipeError
from pithnet.learn.schedules import SCHEDULES, get_schedule


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.9])
def test_every_schedule_rises_over_the_warmup_and_never_again(name: str, warmup: float) -> None:
    factor = get_schedule(name)
    values = [factor(i / 1000, warmup) for i in range(1000)]
    assert all(0 <= v <= 1 for v in values)
    peak = round(1000 * warmup)
    assert values[peak] == pytest.approx(1)
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    if warmup:
        assert values[0] == 0
        assert values[peak // 2] == pytest.approx(0.5)


def test_the_shapes_of_the_fall() -> None:
    assert get_schedule("one-cycle")(0.6, 0.2) == pytest.approx(0.5)
    assert get_schedule("cosine")(0.25, 0.0) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert get_schedule("constant")(0.99, 0.0) == 1.0
    assert get_schedule("one-cycle")(1.0, 0.2) == get_schedule("cosine")(1.0, 0.2) == 0.0


def test_an_unknown_schedule_gets_its_nearest() -> None:
    with pytest.raises(RecipeError, match=r"'onecycle'\. Did you mean one-cycle"):
        get_schedule("onecycle")
