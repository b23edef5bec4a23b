"""Every plot twice from the same numbers: a PNG in the lab's folder and an interactive figure on its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pithnet.report import Page
from pithnet.report.figures import COLOURS, axes, dash, lines, panels, pattern, save_png

_LEGEND = 60  # characters of labels that fit under a figure

Points = tuple[Sequence[float], Sequence[float]]


class Album:
    """Draws onto `page`, and PNGs into `folder`."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page, self.folder = page, folder

    def _put(self, name: str, drawn: Figure, interactive: go.Figure, caption: str) -> None:
        save_png(drawn, self.folder / f"{name}.png")
        self.page.figure(interactive, caption)

    def lines(self, name: str, series: Mapping[str, Points], x: str, y: str, caption: str) -> None:
        """Points joined in their order, a line a series."""
        interactive = go.Figure()
        for i, (label, (xs, ys)) in enumerate(series.items()):
            style = {"color": COLOURS[i % len(COLOURS)], "dash": dash(i)[1]}
            interactive.add_scatter(x=list(xs), y=list(ys), mode="lines+markers", name=label, line=style)
        interactive.update_layout(xaxis_title=x, yaxis_title=y)
        self._put(name, lines(series, caption, x, y), interactive, caption)

    def points(
        self,
        name: str,
        labels: Sequence[str],
        xs: Sequence[float],
        ys: Sequence[float],
        x: str,
        y: str,
        caption: str,
    ) -> None:
        """A point for each of `labels`, at (xs, ys); named in the PNG where the name has room."""
        drawn, ax = axes(caption, x, y)
        ax.scatter(xs, ys)
        for label, at_x, at_y in _apart(labels, xs, ys):
            ax.annotate(label, (at_x, at_y), xytext=(4, 4), textcoords="offset points", fontsize=7)
        interactive = go.Figure()
        interactive.add_scatter(x=list(xs), y=list(ys), mode="markers", text=list(labels), name="layers")
        interactive.update_layout(xaxis_title=x, yaxis_title=y)
        self._put(name, drawn, interactive, caption)

    def bars(
        self, name: str, groups: Sequence[str], series: Mapping[str, Sequence[float]], y: str, caption: str
    ) -> None:
        """Bars side by side: for each of `groups` one of every series."""
        interactive, width = go.Figure(), 0.8 / len(series)
        drawn, ax = axes(caption, "", y, (max(7.0, 0.45 * len(groups)), 4.2))
        at = np.arange(len(groups))
        for i, (label, values) in enumerate(series.items()):
            ax.bar(at + (i - (len(series) - 1) / 2) * width, values, width, label=label)
            interactive.add_bar(x=list(groups), y=list(values), name=label)
        _name_ticks(ax.set_xticks, at, groups)
        if len(series) > 1:
            side_by_side = len(series) if sum(map(len, series)) < _LEGEND else 3
            drawn.legend(loc="outside lower center", ncols=side_by_side)  # over bars it would hide them
        interactive.update_layout(barmode="group", yaxis_title=y)
        self._put(name, drawn, interactive, caption)

    def grid(
        self,
        name: str,
        rows: Sequence[str],
        columns: Sequence[str],
        values: NDArray[np.float64],
        caption: str,
    ) -> None:
        """Shares from 0 to 1 as colours: values (rows, columns)."""
        drawn, ax = axes(caption, size=(max(7.0, 0.45 * len(columns)), 2.0 + 0.32 * len(rows)))
        picture = ax.imshow(values, aspect="auto", vmin=0, vmax=1, cmap="viridis")
        _name_ticks(ax.set_xticks, np.arange(len(columns)), columns)
        ax.set_yticks(range(len(rows)), list(rows))
        ax.grid(visible=False)
        drawn.colorbar(picture, ax=ax)
        interactive = go.Figure(
            go.Heatmap(z=values.tolist(), x=list(columns), y=list(rows), zmin=0, zmax=1, colorscale="Viridis")
        )
        self._put(name, drawn, interactive, caption)

    def patterns(self, name: str, weights: Mapping[str, ArrayLike], caption: str) -> None:
        """Where each weight (c_out, ...) is not zero, a filter a row; a PNG on the page too."""
        self.page.image(save_png(pattern(weights, columns=2), self.folder / f"{name}.png"), caption)

    def histograms(
        self, name: str, values: Mapping[str, NDArray[np.float32]], caption: str, bins: int = 120
    ) -> None:
        """Histograms over the same bins, side by side in the PNG, over each other on the page."""
        drawn, all_axes = panels(len(values), (3.5, 2.6), columns=3)
        interactive = go.Figure()
        low, high = min(v.min() for v in values.values()), max(v.max() for v in values.values())
        edges = np.linspace(low, high, bins + 1)
        for ax, (label, sample) in zip(all_axes, values.items(), strict=True):
            counts, _ = np.histogram(sample, edges)
            ax.stairs(counts, edges, fill=True)
            ax.set_title(label, fontsize=10)
            middles = ((edges[1:] + edges[:-1]) / 2).tolist()
            interactive.add_scatter(x=middles, y=counts.tolist(), mode="lines", line_shape="hvh", name=label)
        interactive.update_layout(xaxis_title="weight", yaxis_title="weights in a bin")
        self._put(name, drawn, interactive, caption)


def _name_ticks(set_ticks: object, at: NDArray[np.int_], names: Sequence[str]) -> None:
    long = len(names) > 6 or sum(map(len, names)) > 50
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
    assert callable(set_ticks)
    set_ticks(at, list(names), **turned)


def _apart(labels: Sequence[str], xs: Sequence[float], ys: Sequence[float]) -> list[tuple[str, float, float]]:
    """The points, highest first, whose names do not run into the name of one before."""
    wide, high = 0.16 * (max(xs) - min(xs)), 0.03 * (max(ys) - min(ys))
    kept: list[tuple[str, float, float]] = []
    for label, x, y in sorted(zip(labels, xs, ys, strict=True), key=lambda point: -point[2]):
        if all(abs(x - a) > wide or abs(y - b) > high for _, a, b in kept):
            kept.append((label, x, y))
    return kept
