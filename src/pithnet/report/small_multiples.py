"""Many small drawings in a grid, one for each layer: histograms of weights, and pictures of zeros."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pithnet.errors import PithError
from pithnet.report.boxes import Box, Boxes, draw_boxes
from pithnet.report.figures import COLOURS, GRID, PALE, SOFT, STYLE, canvas
from pithnet.report.numbers import column_texts
from pithnet.report.plots import said
from pithnet.report.vector import describe

_COLUMNS, _MOST_SPOKEN = 5, 40
_CELL, _GAP = 2.0, 0.25  # inches: the width of a drawing, and what is between two
_TITLE, _LINE, _NAME = 0.22, 0.15, 27  # inches of a title and of a note; characters of a title
_HISTOGRAM, _PICTURE = 0.8, 1.2  # inches of height
_RGB = (58, 136, 222)  # to be seen on light and dark: pixels cannot follow the page's theme
_LEAST, _MOST_PIXEL = 0.06, 0.12  # inches: a picture's narrow side, and a pixel
_FINE = 0.012  # inches: how thick a line is


@dataclass(frozen=True)
class Histogram:
    """How a layer's weights are spread.

    Attributes:
        title: The layer's name.
        notes: What stands below, line by line.
        low: The lower end of the equal bins.
        high: Their upper end.
        before: Counts of all weights before compression; None where they are not known.
        after: Counts of the weights that are not zero after it.
        levels: The (value, count) of each level, drawn as stems instead of `after`.
    """

    title: str
    notes: Sequence[str]
    low: float
    high: float
    before: Sequence[int] | None
    after: Sequence[int]
    levels: Sequence[tuple[float, int]] | None


@dataclass(frozen=True)
class Picture:
    """Where a layer's weights are: cells (rows, columns) of 0, all zero, to 255, none zero."""

    title: str
    notes: Sequence[str]
    cells: NDArray[np.uint8]


def histogram_grid(histograms: Sequence[Histogram]) -> Figure:
    """Draws a histogram for each layer: grey before, blue after as stems or an outline, on one scale.

    Every bin and every level says its count when it is pointed at; above 40 layers, every layer its sums.

    Raises:
        PithError: Where there is no layer, or one has not the same bins before and after.
    """
    for h in histograms:
        if h.before is not None and len(h.before) != len(h.after):
            raise PithError(f"histogram {h.title!r} has {len(h.before)} bins before and {len(h.after)} after")
    spoken = len(histograms) <= _MOST_SPOKEN
    return _grid(histograms, _HISTOGRAM, lambda ax, x, y, h: _draw_histogram(ax, x, y, h, spoken))


def picture_grid(pictures: Sequence[Picture]) -> Figure:
    """Draws a picture for each layer, a pixel for each cell: the fewer zeros, the stronger the colour.

    Raises:
        PithError: Where there is no layer.
    """
    return _grid(pictures, _PICTURE, _draw_picture)


def _grid(drawn: Sequence[Any], height: float, draw: Callable[[Axes, float, float, Any], None]) -> Figure:
    """A canvas with a cell for each drawing, its title above, its notes below."""
    if not drawn:
        raise PithError("there is no layer to draw; give at least one")
    columns = min(_COLUMNS, len(drawn))
    rows = [drawn[i : i + columns] for i in range(0, len(drawn), columns)]
    heights = [_TITLE + height + _LINE * max(len(each.notes) for each in row) + _GAP for row in rows]
    width = columns * (_CELL + _GAP)
    fig, ax = canvas(width, sum(heights))
    tops = accumulate(heights, initial=0.0)
    places = [
        (_GAP / 2 + column * (_CELL + _GAP), top, each)
        for row, top in zip(rows, tops, strict=False)
        for column, each in enumerate(row)
    ]
    with rc_context(STYLE):
        for x, top, each in places:
            name = each.title if len(each.title) <= _NAME else f"…{each.title[1 - _NAME :]}"
            ax.text(x, top + _TITLE - 0.06, name, fontsize=9, fontweight="bold")
        for x, top, each in places:
            for line, note in enumerate(each.notes, 1):
                ax.text(x, top + _TITLE + height + _LINE * line, note, fontsize=8, color=SOFT)
        for x, top, each in places:
            draw(ax, x, top + _TITLE, each)
    return fig


def _draw_histogram(ax: Axes, x: float, y: float, h: Histogram, spoken: bool) -> None:
    levels = h.levels or []
    top = max([*(n for _, n in levels), *(h.after if h.levels is None else ()), *(h.before or ()), 1])
    base, up = y + _HISTOGRAM - _LINE, (_HISTOGRAM - _LINE) / top
    _ends(ax, x, base, h)
    grey = h.before if h.before is not None else h.after if h.levels is None else None
    if grey is not None and spoken:
        _bins(ax, x, base, up, h, grey)
    elif grey is not None:
        tip = f"{h.title}: {sum(grey):,} weights from {said(h.low)} to {said(h.high)}"
        edges = np.linspace(x, x + _CELL, len(grey) + 1)
        area = ax.stairs(
            base - up * np.array(grey), edges, baseline=base, fill=True, color=PALE, clip_on=False
        )
        describe(area, [tip])
    if h.levels is None and h.before is not None:
        edges = np.linspace(x, x + _CELL, len(h.after) + 1)
        ax.stairs(
            base - up * np.array(h.after),
            edges,
            baseline=base,
            color=COLOURS[0],
            linewidth=1.2,
            clip_on=False,
        )
    if levels:
        at = [_across(h, value, x) for value, _ in levels]
        stems = ax.vlines(
            at, [base - up * n for _, n in levels], base, COLOURS[0], linewidth=2, clip_on=False
        )
        describe(stems, [f"level {said(value)}: {n:,} weights" for value, n in levels])


def _bins(ax: Axes, x: float, base: float, up: float, h: Histogram, grey: Sequence[int]) -> None:
    """The bins of the area as a bar each, so that each can say what it holds."""
    wide = _CELL / len(grey)
    edges = np.linspace(h.low, h.high, len(grey) + 1)
    boxes: list[Box] = []
    tips = []
    for i, (left, right) in enumerate(pairwise(edges)):
        if grey[i]:
            boxes.append((x + i * wide, base, wide, -up * grey[i]))
            counts = [f"{h.before[i]:,} before"] if h.before is not None else []
            said_counts = ", ".join([*counts, f"{h.after[i]:,} after"])
            tips.append(f"{said(left)} to {said(right)}: {said_counts}")
    draw_boxes(ax, Boxes(boxes, PALE, tips))


def _ends(ax: Axes, x: float, base: float, h: Histogram) -> None:
    """The base line with its ends as numbers, and a line at 0."""
    draw_boxes(ax, Boxes([(x, base, _CELL, _FINE)], SOFT))
    if h.low < 0 < h.high:
        zero = _across(h, 0.0, x)
        draw_boxes(ax, Boxes([(zero, base, _FINE, _LINE - _HISTOGRAM)], GRID))
    for text, place, side in zip(
        column_texts([h.low, h.high]), (x, x + _CELL), ("left", "right"), strict=True
    ):
        ax.text(place, base + _LINE * 0.8, text, ha=side, fontsize=7, color=SOFT)


def _across(h: Histogram, value: float, x: float) -> float:
    return x + (_CELL * (value - h.low) / (h.high - h.low) if h.high > h.low else _CELL / 2)


def _draw_picture(ax: Axes, x: float, y: float, p: Picture) -> None:
    rows, columns = p.cells.shape
    pixel = min(_CELL / columns, (_PICTURE - 0.1) / rows, _MOST_PIXEL)
    wide, high = max(columns * pixel, _LEAST), max(rows * pixel, _LEAST)
    draw_boxes(ax, Boxes([(x, y, wide, high)], GRID, [": ".join([p.title, *p.notes[:1]])]))
    colours = np.empty((rows, columns, 4), np.uint8)
    colours[..., :3] = _RGB
    colours[..., 3] = p.cells
    ax.imshow(
        colours,
        extent=(x, x + wide, y + high, y),
        aspect="auto",
        interpolation="none",
        clip_on=False,
        zorder=2,
    )
