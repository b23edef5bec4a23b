"""Curves over the epochs, and the timeline of a run."""

from __future__ import annotations

import math

import pytest
from matplotlib.collections import PolyCollection

from pithnet.errors import PithError
from pithnet.report.time_charts import Chart, Curve, Moment, Span, curve_charts, timeline
from pithnet.report.vector import inline_svg

from .reader import Reader


def _loss(*curves: Curve) -> Chart:
    return Chart("Loss", "loss", curves)


def test_points_say_their_values() -> None:
    svg = inline_svg(curve_charts([_loss(Curve("1. prune", ((1, 2.5), (2, 1.25))))], "epoch"), "")
    assert Reader(svg).tips == ["1. prune, epoch 1: 2.50", "1. prune, epoch 2: 1.25"]


def test_curves_stay_inside_and_rise_with_their_values() -> None:
    ax = curve_charts([_loss(Curve("a", ((1, 5.0), (2, 4.0), (3, 4.5))))], "epoch").axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[1, 5], [2, 4], [3, 4.5]]  # type: ignore[union-attr]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < 1 < 3 < right
    assert bottom < 4 < 5 < top, "larger values are higher up"
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("epoch", "loss", "Loss")


def test_curves_leave_out_nan_and_refuse_nothing() -> None:
    one = _loss(Curve("a", ((1, math.nan), (2, 1.0))), Curve("b", ((1, math.nan),)))
    fig = curve_charts([one], "epoch")
    svg = inline_svg(fig, "")
    assert Reader(svg).tips == ["a, epoch 2: 1"]
    assert fig.legends == [], "one curve needs no name"
    assert "nan" not in svg
    with pytest.raises(PithError, match="chart 'Loss' has no finite point"):
        curve_charts([_loss(Curve("a", ((1, math.nan),)))], "epoch")


def test_the_legend_names_every_curve_once() -> None:
    chart = _loss(Curve("1. prune", ((1, 2.0),)), Curve("2. share", ((2, 1.0),)))
    (legend,) = curve_charts([chart, chart], "epoch").legends
    assert [text.get_text() for text in legend.get_texts()] == ["1. prune", "2. share"]


def test_the_timeline_is_to_scale() -> None:
    spans = [Span("1. prune", 30.0, "1. prune: 30 s"), Span("2. share", 10.0, "2. share: 10 s")]
    fig = timeline(spans, [Moment(30.0, "prune: 80.0 % zeros")], "Time")
    ax = fig.axes[0]
    drawn = [c.get_paths()[0].get_extents() for c in ax.collections if isinstance(c, PolyCollection)]
    assert [(e.x0, e.x1) for e in drawn] == [(0, 30), (30, 40)]
    assert ax.get_xlim() == (0, 40)
    assert ax.collections[-1].get_offsets().tolist() == [[30, 1.3]]  # type: ignore[union-attr]
    assert Reader(inline_svg(fig, "")).tips == ["1. prune: 30 s", "2. share: 10 s", "prune: 80.0 % zeros"]


def test_a_timeline_without_time_is_refused() -> None:
    with pytest.raises(PithError, match="timeline 'Time' has no span that takes time"):
        timeline([Span("1. prune", 0.0, "")], [], "Time")
