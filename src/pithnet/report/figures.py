"""Figures in one style, for pages and as PNG files; pyplot, with its windows and state, is not used."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from numpy.typing import ArrayLike, NDArray

from pithnet.atomic import write_atomic
from pithnet.errors import PithError

COLOURS = ("#1f6fc4", "#d97706", "#14866d", "#b23b8c", "#8c6f00", "#6554c0", "#76828f", "#c2402f")
DASHES = ("-", "--", "-.", ":")
INK, SOFT, PALE, GRID = "#22282f", "#58616c", "#b4bac1", "#dadde2"
STYLE: dict[Any, Any] = {
    "font.size": 11.0,
    "text.parse_math": False,  # names of layers may hold dollars
    "axes.titlesize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.grid": True,
    "grid.color": GRID,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "figure.facecolor": "white",
}
_DPI = 150
_MOST_CELLS = 384  # of a pattern's side


def axes(
    title: str = "", x: str = "", y: str = "", size: tuple[float, float] = (7.0, 4.2)
) -> tuple[Figure, Axes]:
    """Makes a new figure with one pair of axes.

    Args:
        title: What stands above it.
        x: What the x axis shows.
        y: What the y axis shows.
        size: Width and height in inches.
    """
    fig, (ax,) = panels(1, size)
    ax.set(title=title, xlabel=x, ylabel=y)
    return fig, ax


def panels(count: int, size: tuple[float, float] = (4.2, 3.6), columns: int = 4) -> tuple[Figure, list[Axes]]:
    """Makes a new figure with several pairs of axes, row by row.

    Args:
        count: How many.
        size: Width and height in inches of each.
        columns: How many stand side by side at most.

    Raises:
        PithError: Where `count` is below 1.
    """
    if count < 1:
        raise PithError("a figure needs at least one panel")
    columns = min(columns, count)
    rows = -(-count // columns)
    with rc_context(STYLE):
        fig = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        return fig, [fig.add_subplot(rows, columns, i + 1) for i in range(count)]


def save_png(fig: Figure, path: str | Path) -> Path:
    """Writes a figure at 150 dots per inch, whole or not at all; the same figure gives the same bytes.

    Raises:
        PithError: Where the file cannot be written.
    """
    buffer = io.BytesIO()
    with rc_context(STYLE):
        fig.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    settle(fig)
    write_atomic(Path(path), buffer.getvalue())
    return Path(path)


def settle(fig: Figure) -> None:
    """Keeps the layout of a figure that has been drawn: it looks the same, and is drawn sooner, next time."""
    fig.set_layout_engine(None)  # "none" would keep an engine, for whose sake every drawing is made twice


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Makes a figure of that many inches, all of it one pair of axes in inches from the upper left corner."""
    with rc_context(STYLE):
        fig = Figure(figsize=(width, height))
        ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return fig, ax


def pattern(masks: Mapping[str, ArrayLike], columns: int = 4) -> Figure:
    """Draws sparsity patterns: what is not zero is dark, an output channel is a row.

    A picture finer than its pixels shows the share of non-zeros instead.

    Args:
        masks: Weights or masks by name, of two or more dimensions; those after the first are laid out side by
            side.
        columns: How many pictures stand side by side at most.

    Raises:
        PithError: Where there is no mask, or one has fewer dimensions or none of a size above 0.
    """
    if not masks:
        raise PithError("there is no mask to draw; give at least one layer")
    fig, all_axes = panels(len(masks), (2.7, 2.2), columns)
    for ax, (name, mask) in zip(all_axes, masks.items(), strict=True):
        kept = np.asarray(mask) != 0
        if kept.ndim < 2 or not kept.size:
            raise PithError(
                f"{name} has shape {kept.shape}; a pattern needs two dimensions or more, none of them 0"
            )
        ax.imshow(
            _density(kept.reshape(len(kept), -1)),
            cmap="Blues",
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="nearest",
        )
        ax.set_title(f"{name}: {100 * (1 - kept.mean()):.1f} % zeros", fontsize=10)
        ax.grid(False)
        ax.set(xticks=[], yticks=[])
    return fig


def _density(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`kept` averaged over blocks so that no side is above _MOST_CELLS; smaller ones stay as they are."""
    shares = kept.astype(float)
    for axis in (0, 1):
        n = shares.shape[axis]
        if n > _MOST_CELLS:
            starts = np.linspace(0, n, _MOST_CELLS, endpoint=False).astype(int)
            sizes = np.diff([*starts, n])
            sums = np.add.reduceat(shares, starts, axis=axis)
            shares = sums / (sizes[:, None] if axis == 0 else sizes)
    return shares
