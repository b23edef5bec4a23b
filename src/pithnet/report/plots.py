"""The kinds of plots that pages and records share; every mark says its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pithnet.report.figures import COLOURS, DASHES, axes, panels
from pithnet.report.vector import describe

Points = tuple[Sequence[float], Sequence[float]]
_TICKS = 12  # whole places on the x-axis that are all named
_LEGEND = 60  # characters of labels that fit under a figure
_LINES = 4  # with more the legend stands below, where it hides none


def bars(values: Mapping[str, float], title: str = "", x: str = "") -> Figure:
    """Draws horizontal bars in the order given, each with its name."""
    fig, ax = axes(title, x, size=(7.0, max(2.0, 0.9 + 0.26 * len(values))))
    drawn = ax.barh(list(values), list(values.values()), color=COLOURS[0])
    for bar, (name, value) in zip(drawn, values.items(), strict=True):
        describe(bar, [f"{name}: {said(value)}"])
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    return fig


def grouped_bars(
    groups: Sequence[str], series: Mapping[str, Sequence[float]], title: str = "", y: str = ""
) -> Figure:
    """Draws upright bars side by side: for each of `groups` one of every series; NaN leaves a bar out."""
    fig, ax = axes(title, "", y, (max(7.0, 0.45 * len(groups)), 4.2))
    at, width = np.arange(len(groups)), 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        drawn = ax.bar(at + (i - (len(series) - 1) / 2) * width, values, width, label=name)
        for bar, group, value in zip(drawn, groups, values, strict=True):
            describe(bar, [f"{group}, {name}: {said(value)}"])
    name_ticks(ax.set_xticks, at, groups)
    if len(series) > 1:
        side_by_side = len(series) if sum(map(len, series)) < _LEGEND else 3
        fig.legend(
            loc="outside lower center", ncols=side_by_side, frameon=False
        )  # over bars it would hide them
    return fig


def lines(series: Mapping[str, Points], title: str = "", x: str = "", y: str = "") -> Figure:
    """Draws lines, name -> (xs, ys), with a marker at each point and a legend where there are several."""
    many = len(series) > _LINES
    fig, ax = axes(title, x, y, (7.0, 4.2 + 0.12 * len(series)) if many else (7.0, 4.2))
    for i, (name, (xs, ys)) in enumerate(series.items()):
        (line,) = ax.plot(xs, ys, marker="o", label=name, color=COLOURS[i % len(COLOURS)], linestyle=dash(i))
        finite = [(px, py) for px, py in zip(xs, ys, strict=True) if py is not None and np.isfinite(py)]
        describe(line, [f"{name}: {said(py)} at {x or 'x'} {said(px)}" for px, py in finite])
    places = {place for xs, _ in series.values() for place in xs}
    if len(places) <= _TICKS and all(float(place).is_integer() for place in places):
        ax.set_xticks(sorted(places))
    if many:
        fig.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    elif len(series) > 1:
        ax.legend(frameon=False)
    return fig


def named_points(
    labels: Sequence[str], xs: Sequence[float], ys: Sequence[float], title: str = "", x: str = "", y: str = ""
) -> Figure:
    """Draws a point for each of `labels`, with its name beside it where there is room.

    Every mark says its name and its place.
    """
    fig, ax = axes(title, x, y)
    drawn = ax.scatter(xs, ys)
    places = list(zip(labels, xs, ys, strict=True))
    describe(drawn, [f"{name}: {x or 'x'} {said(px)}, {y or 'y'} {said(py)}" for name, px, py in places])
    for name, px, py in _apart(places):
        ax.annotate(name, (px, py), xytext=(4, 4), textcoords="offset points", fontsize=7)
    return fig


def _apart(places: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """The points, highest first, whose names do not run into the name of one before."""
    _, xs, ys = zip(*places, strict=True)
    wide, high = 0.16 * (max(xs) - min(xs)), 0.045 * (max(ys) - min(ys))
    kept: list[tuple[str, float, float]] = []
    for name, x, y in sorted(places, key=lambda place: -place[2]):
        if all(abs(x - a) > wide or abs(y - b) > high for _, a, b in kept):
            kept.append((name, x, y))
    return kept


def heatmap(
    rows: Sequence[str], columns: Sequence[str], values: NDArray[np.float64], title: str = "", scale: str = ""
) -> Figure:
    """Draws shares from 0 to 1 as colours: values (rows, columns); `scale` names the colour bar."""
    fig, ax = axes(title, size=(max(7.0, 0.45 * len(columns)), 2.0 + 0.32 * len(rows)))
    mesh = ax.pcolormesh(values, vmin=0, vmax=1, cmap="viridis")
    cells = ((i, j) for i in range(len(rows)) for j in range(len(columns)))
    describe(mesh, [f"{rows[i]}, {columns[j]}: {100 * values[i, j]:.2f} %" for i, j in cells])
    name_ticks(ax.set_xticks, np.arange(len(columns)) + 0.5, columns)
    ax.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    ax.invert_yaxis()
    ax.grid(visible=False)
    fig.colorbar(mesh, ax=ax, label=scale)
    return fig


def histograms(
    values: Mapping[str, NDArray[np.float32]], x: str = "", y: str = "", bins: int = 120
) -> Figure:
    """Draws histograms over the same bins, a panel each."""
    fig, all_axes = panels(len(values), (3.5, 2.6), columns=3)
    low, high = min(v.min() for v in values.values()), max(v.max() for v in values.values())
    edges = np.linspace(low, high, bins + 1)
    for ax, (name, sample) in zip(all_axes, values.items(), strict=True):
        counts, _ = np.histogram(sample, edges)
        drawn = ax.stairs(counts, edges, fill=True, color=COLOURS[0])
        describe(drawn, [f"{name}: {len(sample):,} from {said(sample.min())} to {said(sample.max())}"])
        ax.set_title(name, fontsize=10)
        ax.set_xlabel(x)
    all_axes[0].set_ylabel(y)
    return fig


def said(value: float) -> str:
    """Says a number as marks do: whole ones with commas, others with five digits."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.5g}"


def name_ticks(set_ticks: Callable[..., object], at: NDArray[Any], names: Sequence[str]) -> None:
    """Names places on an axis, slanted where they would run into each other."""
    long = len(names) > 6 or sum(map(len, names)) > 50
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
    set_ticks(at, list(names), **turned)


def dash(number: int) -> str:
    """Returns the style of the line of that number: dashed where colours come again."""
    return DASHES[number // len(COLOURS) % len(DASHES)]
