"""What happened over a run: curves over its epochs, and the time that each step took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pithnet.errors import PithError
from pithnet.report.boxes import Boxes, draw_boxes
from pithnet.report.figures import COLOURS, INK, STYLE, axes, panels
from pithnet.report.numbers import column_texts
from pithnet.report.plots import dash
from pithnet.report.vector import describe

_MANY = 30  # points of a curve: more are drawn smaller
_LEGEND_COLUMN = 2.6  # inches


@dataclass(frozen=True)
class Curve:
    """Points (x, y) joined in their order; those that are not finite are left out."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Curves over one pair of axes; `unit` is that of y."""

    title: str
    unit: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Span:
    """A stretch of the timeline, as long as its seconds; `tip` is said when it is pointed at."""

    name: str
    seconds: float
    tip: str


@dataclass(frozen=True)
class Moment:
    """Something that happened at that second."""

    seconds: float
    text: str


def curve_charts(charts: Sequence[Chart], x_label: str) -> Figure:
    """Draws charts in two columns with one legend. Every point says its curve, place and value.

    Raises:
        PithError: Where a chart has no finite point, or there is no chart.
    """
    fig, all_axes = panels(len(charts), (4.9, 2.9), columns=2)
    for ax, chart in zip(all_axes, charts, strict=True):
        _draw_curves(ax, chart, x_label)
    by_name = {n: h for ax in all_axes for h, n in zip(*ax.get_legend_handles_labels(), strict=True)}
    if len(by_name) > 1:
        _legend(fig, list(by_name.values()), list(by_name))
    return fig


def _draw_curves(ax: Axes, chart: Chart, x_label: str) -> None:
    drawn = 0
    for i, curve in enumerate(chart.curves):
        points = [point for point in curve.points if all(map(math.isfinite, point))]
        drawn += len(points)
        if points:
            xs, ys = zip(*points, strict=True)
            size = 1.5 if len(points) > _MANY else 3.5
            (line,) = ax.plot(xs, ys, marker="o", markersize=size, linewidth=1.4, label=curve.name)
            line.set(color=COLOURS[i % len(COLOURS)], linestyle=dash(i))
            places = zip(column_texts(xs), column_texts(ys), strict=True)
            describe(line, [f"{curve.name}, {x_label} {x}: {y}" for x, y in places])
    if not drawn:
        raise PithError(f"chart {chart.title!r} has no finite point to draw")
    ax.set_title(chart.title, loc="left", fontsize=11, fontweight="bold")
    ax.set(xlabel=x_label, ylabel=chart.unit)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def timeline(spans: Sequence[Span], moments: Sequence[Moment], title: str) -> Figure:
    """Draws spans one after the other over their seconds, with a mark above for each moment.

    Raises:
        PithError: Where the spans take no time.
    """
    ends = list(accumulate((span.seconds for span in spans), initial=0.0))
    if not ends[-1] > 0:
        raise PithError(f"timeline {title!r} has no span that takes time")
    fig, ax = axes("", "seconds", size=(9.8, 1.5 + 0.2 * (len(spans) // 4)))
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    ax.set(xlim=(0, ends[-1]), ylim=(0, 1.6), yticks=[])
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    colours = cycle(COLOURS)
    stretches = [
        Boxes([(start, 0, span.seconds, 1)], colour, [span.tip], span.name)
        for span, start, colour in zip(spans, ends, colours, strict=False)
    ]
    draw_boxes(ax, *stretches)
    if moments:
        at = [min(max(moment.seconds, 0.0), ends[-1]) for moment in moments]
        marks = ax.scatter(at, [1.3] * len(at), marker="v", s=50, color=INK, clip_on=False, linewidths=0)
        describe(marks, [moment.text for moment in moments])
    _legend(fig, *ax.get_legend_handles_labels())
    return fig


def _legend(fig: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    columns = min(len(names), int(fig.get_figwidth() / _LEGEND_COLUMN))
    with rc_context(STYLE):
        fig.legend(handles, names, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)
