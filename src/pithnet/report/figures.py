"""Figures as PNG files in one style; made without pyplot, so that no window or state is left behind."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from pithnet.atomic import write_atomic
from pithnet.errors import PithError

COLOURS = ("#1f6fc4", "#d97706", "#14866d", "#b23b8c", "#8c6f00", "#6554c0", "#76828f", "#c2402f")
DASHES = (("-", "solid"), ("--", "dash"), ("-.", "dashdot"), (":", "dot"))  # for matplotlib, for plotly
_TICKS = 12  # whole places on the x-axis that are all named
_STYLE: dict[Any, Any] = {
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.grid": True,
    "grid.color": "#dadde2",
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "figure.facecolor": "white",
}
_DPI = 150  # Page.image counts on it


class FrontierPoint(NamedTuple):
    """A compressed model: bytes of its file, accuracy in [0, 1] and its interval, where there is one."""

    bytes: int
    accuracy: float
    low: float | None = None
    high: float | None = None


def axes(
    title: str = "", x: str = "", y: str = "", size: tuple[float, float] = (7.0, 4.2)
) -> tuple[Figure, Axes]:
    """A new figure of `size` inches with one pair of axes, to draw on and give to `save_png`."""
    fig, (ax,) = panels(1, size)
    ax.set(title=title, xlabel=x, ylabel=y)
    return fig, ax


def panels(count: int, size: tuple[float, float] = (4.2, 3.6), columns: int = 4) -> tuple[Figure, list[Axes]]:
    """A new figure with `count` pairs of axes of `size` inches each, at most `columns` side by side."""
    if count < 1:
        raise PithError("a figure needs at least one panel")
    columns = min(columns, count)
    rows = -(-count // columns)
    with rc_context(_STYLE):
        fig = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        return fig, [fig.add_subplot(rows, columns, i + 1) for i in range(count)]


def save_png(fig: Figure, path: str | Path) -> Path:
    """Writes a figure at 150 dots per inch, whole or not at all; the same figure gives the same bytes.

    Raises PithError where the file cannot be written.
    """
    buffer = io.BytesIO()
    with rc_context(_STYLE):
        fig.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_atomic(Path(path), buffer.getvalue())
    return Path(path)


def pattern(masks: Mapping[str, ArrayLike], columns: int = 4) -> Figure:
    """Pictures of sparsity patterns: what is not zero is dark, an output channel per row.

    masks: name -> weights or masks, two or more dimensions; those after the first are laid out side by side.
    A picture finer than its pixels shows the share of non-zeros instead. Raises PithError for other shapes.
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


def bars(values: Mapping[str, float], title: str = "", x: str = "") -> Figure:
    """Horizontal bars in the order given, each with its name."""
    fig, ax = axes(title, x, size=(7.0, max(2.0, 0.9 + 0.26 * len(values))))
    ax.barh(list(values), list(values.values()), color=COLOURS[0])
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    return fig


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str = "", x: str = "", y: str = ""
) -> Figure:
    """Lines: name -> (xs, ys), with a marker at each point and a legend where there are several."""
    many = len(series) > len(COLOURS)
    fig, ax = axes(title, x, y, (7.0, 4.2 + 0.12 * len(series)) if many else (7.0, 4.2))
    for i, (name, (xs, ys)) in enumerate(series.items()):
        ax.plot(xs, ys, marker="o", label=name, color=COLOURS[i % len(COLOURS)], linestyle=dash(i)[0])
    places = {place for xs, _ in series.values() for place in xs}
    if len(places) <= _TICKS and all(float(place).is_integer() for place in places):
        ax.set_xticks(sorted(places))
    if many:  # over the lines it would hide them
        fig.legend(loc="outside lower center", ncols=2, fontsize=8)
    elif len(series) > 1:
        ax.legend(frameon=False)
    return fig


def dash(number: int) -> tuple[str, str]:
    """How the line of that number is drawn, by matplotlib and by plotly: dashed where colours come again."""
    return DASHES[number // len(COLOURS) % len(DASHES)]


def frontier(
    series: Mapping[str, Sequence[FrontierPoint]], title: str = "", reference: float | None = None
) -> Figure:
    """Accuracy (%) against bytes on a logarithmic axis, with intervals; a line joins what nothing dominates.

    reference: accuracy of the uncompressed model in [0, 1], drawn as a dashed line.
    """
    fig, ax = axes(title, "bytes", "accuracy (%)")
    for (name, points), colour in zip(series.items(), _endless(len(series)), strict=True):
        ax.errorbar(
            [p.bytes for p in points],
            [100 * p.accuracy for p in points],
            yerr=_errors(points),
            fmt="o",
            color=colour,
            ecolor=colour,
            elinewidth=1.0,
            capsize=2.5,
            label=name,
        )
        best = undominated(points)
        ax.plot([p.bytes for p in best], [100 * p.accuracy for p in best], color=colour, alpha=0.7)
    if reference is not None:
        ax.axhline(100 * reference, color="#58616c", linestyle="--", linewidth=1.2, label="uncompressed")
    _log_bytes(ax, [p.bytes for points in series.values() for p in points])
    ax.legend(frameon=False)
    return fig


def _log_bytes(ax: Axes, sizes: Sequence[int]) -> None:
    narrow = sizes and max(sizes) < 10 * min(sizes)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7) if narrow else (1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())


def undominated(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """Those points, by rising bytes, to which no other is both no larger and no less accurate."""
    best: list[FrontierPoint] = []
    for point in sorted(points, key=lambda p: (p.bytes, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def _errors(points: Sequence[FrontierPoint]) -> list[list[float]]:
    below = [100 * (p.accuracy - p.low) if p.low is not None else 0.0 for p in points]
    above = [100 * (p.high - p.accuracy) if p.high is not None else 0.0 for p in points]
    return [below, above]


def _density(kept: NDArray[np.bool_], most: int = 384) -> NDArray[np.float64]:
    """`kept` averaged over blocks so that neither side is above `most`; as it is where it is small enough."""
    shares = kept.astype(float)
    for axis in (0, 1):
        n = shares.shape[axis]
        if n > most:
            starts = np.linspace(0, n, most, endpoint=False).astype(int)
            sizes = np.diff([*starts, n])
            sums = np.add.reduceat(shares, starts, axis=axis)
            shares = sums / (sizes[:, None] if axis == 0 else sizes)
    return shares


def _endless(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
