"""How the weights of each layer are spread, before and after, and where its zeros are."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.figure import Figure

from pithnet.report.page import Page
from pithnet.report.small_multiples import Histogram, Picture, histogram_grid, picture_grid
from pithnet.results.measured import Spread
from pithnet.results.run_record import RunRecord, layer_name

_MOST_SHOWN = 40  # more layers than that are folded


def weight_figures(record: RunRecord) -> dict[str, Figure]:
    """Draws `weights`, histograms, and `zeros`, pictures of places, for runs that have measured them."""
    layers = record.measurements.layers if record.measurements else []
    if not layers:
        return {}
    return {
        "weights": histogram_grid([_histogram(s) for s in layers]),
        "zeros": picture_grid([_picture(s) for s in layers]),
    }


def add_weights(page: Page, record: RunRecord, figures: Mapping[str, Figure]) -> None:
    """Adds histograms and pictures of zeros, for runs that have measured them."""
    layers = record.measurements.layers if record.measurements else []
    if not layers:
        return
    many = len(layers) > _MOST_SHOWN
    page.section("Weights before and after")
    page.figure(
        figures["weights"],
        "Grey: the float model's weights in equal bins. Blue: how many weights have each level, on the same "
        "scale of counts, or, in layers without levels, the weights that are not zero. Zeros are not drawn.",
        "How the weights of each layer are spread",
        folded=f"Histograms of all {len(layers)} layers" if many else "",
    )
    page.section("Where the zeros are")
    page.figure(
        figures["zeros"],
        "A pixel is a kernel (a weight, in linear layers), or a block of them in large layers: a row per "
        "output, a column per input as the tensor is stored; the stronger the colour, the fewer zeros. "
        "A row or column without colour could be left out of the network.",
        "Where the zeros of each layer are",
        folded=f"Pictures of all {len(layers)} layers" if many else "",
    )


def spread_notes(s: Spread) -> list[str]:
    """Says how many levels there are, and how many weights are left, in words."""
    levels = [f"{len(s.levels)} levels"] if s.levels is not None else []
    return [*levels, f"{s.kept:,} of {s.weights:,} left"]


def zero_notes(s: Spread) -> list[str]:
    """Says the share of zeros, and what is empty, in words."""
    notes = [f"{100 * (s.weights - s.kept) / s.weights:.1f} % zeros"]
    rows, columns = s.shape[0], s.shape[1]
    if math.prod(s.shape[2:]) > 1:
        notes.append(f"{s.empty.kernels:,} of {rows * columns:,} kernels empty")
    notes.append(f"{s.empty.rows:,} of {rows:,} rows empty")
    notes.append(f"{s.empty.columns:,} of {columns:,} columns empty")
    return notes


def _histogram(s: Spread) -> Histogram:
    return Histogram(layer_name(s.name), spread_notes(s), s.low, s.high, s.before, s.after, s.levels)


def _picture(s: Spread) -> Picture:
    return Picture(layer_name(s.name), zero_notes(s), s.grid.cells())
