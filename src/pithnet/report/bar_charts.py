"""Horizontal bars of one or more parts: a label before each, and after it the text that says its value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pithnet.errors import PithError
from pithnet.report.boxes import Box, Boxes, draw_boxes
from pithnet.report.figures import COLOURS, GRID, PALE, STYLE, canvas
from pithnet.report.numbers import column_texts

_TRACK, _GONE = (GRID, 0.45), (PALE, 0.55)
# Inches. Texts are of 9 points, whose letters are at most so wide on the average.
_LETTER, _TITLE, _LEGEND, _EDGE, _APART = 0.078, 0.34, 0.26, 0.1, 0.3
_SWATCH, _THICK = 0.12, 0.62  # the second one is the share of its row that a bar fills
_LONGEST_LABEL = 40  # characters


@dataclass(frozen=True)
class Part:
    """A piece of a bar. `colour` is a number of `figures.COLOURS`; a name puts it into the legend."""

    value: float
    colour: int = 0
    name: str = ""


@dataclass(frozen=True)
class Bar:
    """A labelled bar of one or more parts, with the `text` that says its value.

    `gone` is drawn pale after the parts: what the bar had more before.
    """

    label: str
    parts: tuple[Part, ...]
    text: str
    gone: float = 0.0

    @property
    def total(self) -> float:
        """How long its parts are together."""
        return sum(part.value for part in self.parts)


@dataclass(frozen=True)
class BarChart:
    """Bars below each other on one linear scale from 0.

    Attributes:
        title: Stands above them.
        bars: The first is drawn on top.
        longest: The length that fills the width; that of the longest bar where it is None.
        labels: Without them the bars are those of the chart to the left.
    """

    title: str
    bars: Sequence[Bar]
    longest: float | None = None
    labels: bool = True

    @property
    def scale(self) -> float:
        """The length that fills the width."""
        return self.longest or max((bar.total + bar.gone for bar in self.bars), default=0.0) or 1.0


@dataclass(frozen=True)
class _Place:
    """Where a chart's bars are on the canvas, in inches."""

    left: float
    width: float
    row: float

    def boxes(self, row: int, start: float, length: float) -> Box:
        height = _THICK * self.row
        top = _TITLE + self.row * row + (self.row - height) / 2
        return self.left + start * self.width, top, length * self.width, height


def bar_charts(charts: Sequence[BarChart], track: float = 3.6, row: float = 0.27) -> Figure:
    """Draws charts side by side, with one legend below of all parts that have a name.

    Args:
        charts: The charts, from left to right.
        track: Inches of the longest bar.
        row: Inches from bar to bar.

    Raises:
        PithError: Where the length of a bar is negative or not finite.
    """
    bars = [bar for chart in charts for bar in chart.bars]
    for bar in bars:
        if any(not 0 <= value < math.inf for value in (bar.gone, *(part.value for part in bar.parts))):
            raise PithError(f"bar {bar.label!r} has a part that is negative or not finite; leave it out")
    legend = {p.name: p.colour for bar in bars for p in bar.parts if p.name and _drawn(bars, p)}
    lefts = [*accumulate((_width(chart, track) for chart in charts), initial=_EDGE)]
    most = max((len(chart.bars) for chart in charts), default=0)
    foot = _TITLE + row * most
    swatches, height = _legend_places(legend, lefts[-1], foot)
    fig, ax = canvas(lefts[-1], height)
    with rc_context(STYLE):
        for chart, left in zip(charts, lefts, strict=False):
            _draw(ax, chart, left, _Place(left + _label_width(chart), track, row))
        boxes = [[(x, y - 0.1, 2 * _SWATCH, _SWATCH)] for x, y in swatches]
        draw_boxes(ax, *(Boxes(box, COLOURS[c]) for box, c in zip(boxes, legend.values(), strict=True)))
        for name, (x, y) in zip(legend, swatches, strict=True):
            ax.text(x + 2.5 * _SWATCH, y, name, fontsize=9)
    return fig


def _drawn(bars: Sequence[Bar], part: Part) -> bool:
    return any(other.value for bar in bars for other in bar.parts if other.name == part.name)


def _label_width(chart: BarChart) -> float:
    return _LETTER * max((len(_label(b)) for b in chart.bars), default=0) + 0.1 if chart.labels else 0.0


def _label(bar: Bar) -> str:
    return bar.label if len(bar.label) <= _LONGEST_LABEL else f"…{bar.label[1 - _LONGEST_LABEL :]}"


def _width(chart: BarChart, track: float) -> float:
    texts = _LETTER * max((len(bar.text) for bar in chart.bars), default=0)
    return _label_width(chart) + track + texts + _APART


def _legend_places(
    legend: dict[str, int], width: float, foot: float
) -> tuple[list[tuple[float, float]], float]:
    """Where each name stands, line by line, and the height of the whole figure."""
    places, x, y = [], _EDGE, foot + _LEGEND
    for name in legend:
        wide = 2.5 * _SWATCH + _LETTER * len(name) + 0.15
        if x > _EDGE and x + wide > width:
            x, y = _EDGE, y + _LEGEND
        places.append((x, y))
        x += wide
    return places, (y if legend else foot) + 0.1


def _draw(ax: Axes, chart: BarChart, left: float, place: _Place) -> None:
    ax.text(left, _TITLE - 0.13, chart.title, fontsize=11, fontweight="bold")
    tracks = [place.boxes(row, 0, 1) for row in range(len(chart.bars))]
    draw_boxes(ax, Boxes(tracks, _TRACK), *_parts(chart, place), _gone(chart, place))
    _write(ax, chart, place)


def _parts(chart: BarChart, place: _Place) -> list[Boxes]:
    """The pieces of all bars, those of a name and a colour together."""
    pieces = [(row, part, start) for row, bar in enumerate(chart.bars) for part, start in _starts(bar)]
    pieces = [piece for piece in pieces if piece[1].value]
    texts = column_texts([part.value for _, part, _ in pieces])
    groups: dict[tuple[str, int], tuple[list[Box], list[str]]] = {}
    for (row, part, start), text in zip(pieces, texts, strict=True):
        boxes, tips = groups.setdefault((part.name, part.colour), ([], []))
        boxes.append(place.boxes(row, start / chart.scale, part.value / chart.scale))
        bar = chart.bars[row]
        tips.append(f"{part.name}: {text}" if part.name else f"{bar.label}: {bar.text}")
    return [Boxes(boxes, COLOURS[colour], tips) for (_, colour), (boxes, tips) in groups.items()]


def _gone(chart: BarChart, place: _Place) -> Boxes:
    gone = [(row, bar) for row, bar in enumerate(chart.bars) if bar.gone]
    boxes = [place.boxes(row, bar.total / chart.scale, bar.gone / chart.scale) for row, bar in gone]
    return Boxes(boxes, _GONE, [f"{text} fewer" for text in column_texts([bar.gone for _, bar in gone])])


def _write(ax: Axes, chart: BarChart, place: _Place) -> None:
    lines = [_TITLE + place.row * (i + 0.5) + 0.045 for i in range(len(chart.bars))]
    for bar, y in zip(chart.bars, lines, strict=True):
        ax.text(place.left + place.width + 0.06, y, bar.text, fontsize=9)
    for bar, y in zip(chart.bars if chart.labels else (), lines, strict=False):
        ax.text(place.left - 0.06, y, _label(bar), ha="right", fontsize=9)


def _starts(bar: Bar) -> Iterator[tuple[Part, float]]:
    return zip(bar.parts, accumulate((part.value for part in bar.parts), initial=0.0), strict=False)
