from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pithnet.errors import PithError
from pithnet.report.charts import Bar, Curve, Part, bar_chart, curve_chart, ticks

from .reader import Reader


def _widths(html: str) -> list[float]:
    return [float(w) for w in re.findall(r"width:([\d.e+-]+)%", html)]


def test_bars_are_as_long_as_their_values() -> None:
    html = bar_chart(
        [Bar("all", (Part(50, 0, "positions"), Part(30, 1, "symbols")), "80"), Bar("x", (Part(20),), "20")]
    )
    assert _widths(html) == [62.5, 37.5, 25.0]
    assert "positions" in Reader(html).text


def test_bars_take_a_common_scale_and_leave_out_what_is_empty() -> None:
    html = bar_chart([Bar("a", (Part(25), Part(0, 1)), "25 %")], longest=100)
    assert _widths(html) == [25.0]
    assert _widths(bar_chart([Bar("none", (Part(0),), "0")])) == []


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_bars_refuse_what_has_no_length(value: float) -> None:
    with pytest.raises(PithError, match="bar 'loss' has a part that is negative or not finite"):
        bar_chart([Bar("loss", (Part(value),), "")])


def test_what_a_bar_lost_and_its_note_are_shown() -> None:
    bars = [Bar("float", (Part(80, 0, "values"), Part(0, 1, "levels")), "80")]
    bars.append(
        Bar("pruned", (Part(20, 0, "values"), Part(0, 1, "levels")), "20", gone=60, note="a `bitmap`")
    )
    html = bar_chart(bars)
    read = Reader(html)
    assert _widths(html) == [100.0, 25.0, 75.0]
    assert read.tips == ["values: 80", "values: 20", "60 fewer"]
    assert "levels" not in read.text, "no bar has any"
    assert "<code>bitmap</code>" in html


def test_points_say_their_values() -> None:
    html = curve_chart([Curve("1. prune", ((1, 2.5), (2, 1.25)))], "Loss", "epoch", "loss")
    assert Reader(html).tips == ["1. prune, epoch 1: 2.50", "1. prune, epoch 2: 1.25"]


def test_labels_are_escaped() -> None:
    html = bar_chart([Bar("<script>", (Part(1),), "&")], title="<b>")
    assert Reader(html).all_of("span") == ["<script>", "&"]


def test_curves_stay_inside_and_rise_with_their_values() -> None:
    html = curve_chart([Curve("a", ((1, 5.0), (2, 4.0), (3, 4.5)))], "Loss", "epoch", "loss")
    Reader(html)
    points = [tuple(map(float, p.split(","))) for p in re.search(r'points="([^"]+)"', html)[1].split()]  # type: ignore[index]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    assert xs == sorted(xs)
    assert ys[0] < ys[2] < ys[1], "larger values are higher up, where y is smaller"
    assert all(0 < x < 380 for x in xs)
    assert all(0 < y < 230 for y in ys)


def test_curves_leave_out_nan_and_refuse_nothing() -> None:
    html = curve_chart([Curve("a", ((1, math.nan), (2, 1.0)))], "Loss", "epoch", "loss")
    assert html.count("<circle") == 1
    empty = Curve("b", ((1, math.nan),))
    assert "legend" not in curve_chart([Curve("a", ((1, 1.0),)), empty], "Loss", "epoch", "loss")
    assert "nan" not in html
    with pytest.raises(PithError, match="chart 'Loss' has no finite point"):
        curve_chart([Curve("a", ((1, math.nan),))], "Loss", "epoch", "loss")


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 10))
def test_ticks_enclose_their_range_evenly(low: float, width: float, most: int) -> None:
    high = low + width
    found = ticks(low, high, most)
    tolerance = 1e-6 * width + 1e-9 * abs(low)
    assert found[0] <= low + tolerance
    assert found[-1] >= high - tolerance
    assert 2 <= len(found) <= most + 3


def test_ticks_of_one_value_surround_it() -> None:
    assert ticks(5.0, 5.0, 4)[0] < 5.0 < ticks(5.0, 5.0, 4)[-1]
    assert ticks(0.0, 0.0, 4)[0] < 0.0 < ticks(0.0, 0.0, 4)[-1]
