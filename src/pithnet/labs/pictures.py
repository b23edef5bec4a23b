"""Every plot of a lab twice: as a PNG in the lab's folder, and as a drawing on its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pithnet.report import Page
from pithnet.report.figures import pattern, save_png
from pithnet.report.plots import Points, grouped_bars, heatmap, histograms, lines, named_points


class Album:
    """Draws onto `page`, and PNGs into `folder`."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page, self.folder = page, folder

    def put(self, name: str, drawn: Figure, caption: str) -> None:
        """A figure on the page, and as NAME.png."""
        save_png(drawn, self.folder / f"{name}.png")
        self.page.figure(drawn, caption)

    def lines(self, name: str, series: Mapping[str, Points], x: str, y: str, caption: str) -> None:
        """Points joined in their order, a line a series."""
        self.put(name, lines(series, "", x, y), caption)

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
        """A point for each of `labels`, at (xs, ys); named where the name has room."""
        self.put(name, named_points(labels, xs, ys, "", x, y), caption)

    def bars(
        self, name: str, groups: Sequence[str], series: Mapping[str, Sequence[float]], y: str, caption: str
    ) -> None:
        """Bars side by side: for each of `groups` one of every series."""
        self.put(name, grouped_bars(groups, series, "", y), caption)

    def grid(
        self,
        name: str,
        rows: Sequence[str],
        columns: Sequence[str],
        values: NDArray[np.float64],
        caption: str,
    ) -> None:
        """Shares from 0 to 1 as colours: values (rows, columns)."""
        self.put(name, heatmap(rows, columns, values, scale=caption.rstrip(".")), caption)

    def patterns(self, name: str, weights: Mapping[str, ArrayLike], caption: str) -> None:
        """Where each weight (c_out, ...) is not zero, a filter a row."""
        self.put(name, pattern(weights, columns=2), caption)

    def histograms(self, name: str, values: Mapping[str, NDArray[np.float32]], caption: str) -> None:
        """Histograms over the same bins, side by side."""
        self.put(name, histograms(values, "weight", "weights in a bin"), caption)
