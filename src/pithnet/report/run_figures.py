"""The run report's figures as PNG files, of the same numbers as the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from pithnet.atomic import make_folder
from pithnet.report.figures import COLOURS, panels, save_png
from pithnet.report.layer_report import PART_COLOURS
from pithnet.report.plots import bars
from pithnet.report.size_report import STAGE_PARTS
from pithnet.report.training_report import CURVES, curves
from pithnet.report.waterfall import stages
from pithnet.report.weight_report import spread_note, zero_notes
from pithnet.results.measured import Spread, layer_name
from pithnet.results.run_record import RunRecord, read_run

_PANEL = (2.3, 1.9)
_COLUMNS = 5


def write_figures(run_folder: str | Path, out: str | Path | None = None) -> list[Path]:
    """Writes the figures of a finished run, into its folder `figures` where `out` is None; returns the files.

    sizes, stages, layers, weights, zeros and training, those of them that the run has numbers for. Raises
    PithError as `write_report` does.
    """
    record = read_run(Path(run_folder))
    folder = Path(run_folder) / "figures" if out is None else Path(out)
    make_folder(folder, "choose another place")
    drawn = ((name, draw(record)) for name, draw in _FIGURES.items())
    return [save_png(figure, folder / f"{name}.png") for name, figure in drawn if figure is not None]


def _sizes(record: RunRecord) -> Figure | None:
    r = record.results
    if r.bytes is None:
        return None
    sizes = {"float32": float(r.float_bytes)} if r.float_bytes else {}
    sizes |= {rival.about + name: rival.bytes for name, rival in r.rivals.items()} | {"this file": r.bytes}
    fig = bars(sizes, "Against the trivial ways" if r.rivals else "Against float32", "bytes")
    _whole_bytes(fig.axes[0])
    return fig


def _stages(record: RunRecord) -> Figure | None:
    found = stages(record.results)
    if not found:
        return None
    late = found[[s.name for s in found].index("shared") :]
    fig, all_axes = panels(2, (6.0, 3.4), columns=2)
    for ax, some in zip(all_axes, (found, late), strict=True):
        parts = {
            name: ([s.parts[key] for s in some], COLOURS[colour])
            for key, (name, colour) in STAGE_PARTS.items()
            if any(s.parts[key] for s in some)
        }
        _stack(ax, [s.name for s in some], parts)
        for row, stage in enumerate(some):
            ax.annotate(f" {stage.bytes:,}", (stage.bytes, row), va="center", fontsize=9)
        ax.set(xlabel="bytes", xlim=(0, 1.22 * max(s.bytes for s in some)))
        _whole_bytes(ax)
    all_axes[0].set_title("From float32 to the file")
    all_axes[1].set_title(f"The last {len(late)} stages again")
    handles, labels = all_axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return fig


def _whole_bytes(ax: Axes) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _layers(record: RunRecord) -> Figure | None:
    weights = [t for t in record.results.tensors if t.is_weight]
    if not weights:
        return None
    fig, (spent, zeros, bits) = panels(3, (4.6, max(2.0, 1.1 + 0.21 * len(weights))), columns=3)
    names = [t.short for t in weights]
    parts = {p: ([t.bytes.get(p, 0) for t in weights], COLOURS[c]) for p, c in PART_COLOURS.items()}
    _stack(spent, names, parts)
    spent.legend(frameon=False, fontsize=9)
    zeros.barh(names, [100 * t.zeros / max(t.size, 1) for t in weights], color=COLOURS[0])
    bits.barh(names, [t.bits for t in weights], color=COLOURS[5])
    titles = ("Bytes", "Zeros (%)", "Bits per weight, zeros included")
    for ax, title in zip((spent, zeros, bits), titles, strict=True):
        ax.set_title(title)
        ax.tick_params(axis="y", labelsize=8)
        ax.grid(False, axis="y")
    for ax in (zeros, bits):
        ax.invert_yaxis()
    return fig


def _stack(ax: Axes, names: list[str], parts: dict[str, tuple[list[int], str]]) -> None:
    """Horizontal bars of parts beside each other, the first name on top."""
    left = np.zeros(len(names))
    for label, (values, colour) in parts.items():
        ax.barh(names, values, left=left, color=colour, label=label)
        left += values
    ax.invert_yaxis()
    ax.grid(False, axis="y")


def _weights(record: RunRecord) -> Figure | None:
    return _multiples(record, _draw_histogram)


def _zeros(record: RunRecord) -> Figure | None:
    return _multiples(record, _draw_picture)


def _multiples(record: RunRecord, draw: Callable[[Axes, Spread], None]) -> Figure | None:
    layers = record.measurements.layers if record.measurements else []
    if not layers:
        return None
    fig, all_axes = panels(len(layers), _PANEL, _COLUMNS)
    for ax, spread in zip(all_axes, layers, strict=True):
        draw(ax, spread)
        ax.set_title(layer_name(spread.name), fontsize=9)
        ax.grid(False)
        ax.tick_params(labelsize=7)
    return fig


def _draw_histogram(ax: Axes, s: Spread) -> None:
    edges = np.linspace(s.low, s.high, len(s.after) + 1)
    if s.before is not None:
        ax.stairs(s.before, edges, fill=True, color="#b4bac1")
    if s.levels is None:
        ax.stairs(s.after, edges, color=COLOURS[0])
    elif s.levels:
        ax.vlines([v for v, _ in s.levels], 0, [n for _, n in s.levels], color=COLOURS[0], linewidth=2)
    ax.set_xlabel(spread_note(s), fontsize=7)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(3))


def _draw_picture(ax: Axes, s: Spread) -> None:
    ax.imshow(s.grid.cells(), cmap="Blues", vmin=0, vmax=255, interpolation="nearest")
    ax.set_xlabel("\n".join(zero_notes(s)), fontsize=6.5)
    ax.set(xticks=[], yticks=[])


def _training(record: RunRecord) -> Figure | None:
    drawn = [(title, unit, curves(record.log.epochs, value)) for title, unit, value in CURVES]
    drawn = [each for each in drawn if each[2]]
    if not drawn:
        return None
    fig, all_axes = panels(len(drawn), columns=4)
    for ax, (title, unit, found) in zip(all_axes, drawn, strict=True):
        for curve in found:
            ax.plot(*zip(*curve.points, strict=True), marker="o", markersize=3, label=curve.name)
        ax.set(title=title, xlabel="epoch", ylabel=unit)
    all_axes[0].legend(frameon=False, fontsize=9)
    return fig


_FIGURES: dict[str, Callable[[RunRecord], Figure | None]] = {
    "sizes": _sizes,
    "stages": _stages,
    "layers": _layers,
    "weights": _weights,
    "zeros": _zeros,
    "training": _training,
}
