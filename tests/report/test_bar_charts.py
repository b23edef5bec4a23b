"""Bars: as long as their values, each part with its name, each bar with its text."""

from __future__ import annotations

import math

import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from pithnet.errors import PithError
from pithnet.report.bar_charts import Bar, BarChart, Part, bar_charts
from pithnet.report.vector import inline_svg

from .reader import Reader


def _lengths(fig: Figure) -> list[list[float]]:
    """Of each colour's bars, in percent of the tracks behind them, which are the first collection."""
    drawn = [c for c in fig.axes[0].collections if isinstance(c, PolyCollection)]
    widths = [[path.get_extents().width for path in c.get_paths()] for c in drawn]
    return [[100 * width / widths[0][0] for width in some] for some in widths]


def test_bars_are_as_long_as_their_values() -> None:
    parts = (Part(50, 0), Part(30, 1))
    fig = bar_charts([BarChart("Bytes", [Bar("all", parts, "80 B"), Bar("x", (Part(20),), "20 B")])])
    assert _lengths(fig) == [pytest.approx(some) for some in ([100, 100], [62.5, 25], [37.5])]
    read = Reader(inline_svg(fig, ""))
    assert read.tips == ["all: 80 B", "x: 20 B", "all: 80 B"]
    assert {"all", "x", "80 B", "20 B", "Bytes"} <= set(read.all_of("text"))


def test_bars_take_a_common_scale_and_leave_out_what_is_empty() -> None:
    a, none = Bar("a", (Part(25), Part(0, 1)), "25 %"), Bar("none", (Part(0),), "0")
    lengths = _lengths(bar_charts([BarChart("", [a], longest=100)]))
    assert lengths == [pytest.approx(some) for some in ([100], [25])]
    assert _lengths(bar_charts([BarChart("", [none])])) == [[100]]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_bars_refuse_what_has_no_length(value: float) -> None:
    with pytest.raises(PithError, match="bar 'loss' has a part that is negative or not finite"):
        bar_charts([BarChart("", [Bar("loss", (Part(value),), "")])])


def test_what_a_bar_lost_is_shown_and_the_legend_names_the_parts_that_there_are() -> None:
    bars = [Bar("float", (Part(80, 0, "values"), Part(0, 1, "levels")), "80")]
    bars.append(Bar("pruned", (Part(20, 0, "values"), Part(0, 1, "levels")), "20", gone=60))
    fig = bar_charts([BarChart("Stages", bars)])
    assert _lengths(fig)[:3] == [pytest.approx(some) for some in ([100, 100], [100, 25], [75])]
    read = Reader(inline_svg(fig, ""))
    assert read.tips == ["values: 80", "values: 20", "60 fewer"]
    assert read.all_of("text").count("values") == 1
    assert "levels" not in read.text, "no bar has any"


def test_labels_are_texts_whatever_they_hold() -> None:
    bars = [Bar("<script>", (Part(1),), "$x_1$ &"), Bar("$y_2$", (), "")]
    read = Reader(inline_svg(bar_charts([BarChart("<b>", bars)]), ""))
    assert {"<script>", "$x_1$ &", "$y_2$", "<b>"} <= set(read.all_of("text"))


def test_charts_stand_side_by_side_and_may_share_their_labels() -> None:
    bars = [Bar("conv1", (Part(1),), "1"), Bar("conv2", (Part(2),), "2")]
    fig = bar_charts([BarChart("Bytes", bars), BarChart("Bits", bars, labels=False)])
    assert Reader(inline_svg(fig, "")).all_of("text").count("conv1") == 1
    ends = [[path.get_extents() for path in c.get_paths()] for c in fig.axes[0].collections]
    first, second = ends[0], ends[2]
    assert all(a.x1 < b.x0 and a.y0 == b.y0 for a, b in zip(first, second, strict=True))
