"""How the weights of each layer are spread, before and after, and where its zeros are."""

from __future__ import annotations

import math

from markupsafe import Markup

from pithnet.report.drawings import Histogram, histogram_chart, kernel_picture
from pithnet.report.page import Page
from pithnet.results.measured import Spread, layer_name
from pithnet.results.run_record import RunRecord

_MOST_SHOWN = 40  # more layers than that are folded


def add_weights(page: Page, record: RunRecord) -> None:
    """Histograms and pictures of zeros, for runs that have measured them."""
    layers = record.measurements.layers if record.measurements else []
    if not layers:
        return
    many = len(layers) > _MOST_SHOWN
    page.section("Weights before and after")
    page.multiples(
        [_histogram(s) for s in layers],
        "Grey: the float model's weights in equal bins. Blue: how many weights have each level, on the same "
        "scale of counts, or, in layers without levels, the weights that are not zero. Zeros are not drawn.",
        folded=f"Histograms of all {len(layers)} layers" if many else "",
    )
    page.section("Where the zeros are")
    page.multiples(
        [_picture(s) for s in layers],
        "A pixel is a kernel (a weight, in linear layers), or a block of them in large layers: a row per "
        "output, a column per input as the tensor is stored; the stronger the colour, the fewer zeros. "
        "A row or column without colour could be left out of the network.",
        folded=f"Pictures of all {len(layers)} layers" if many else "",
    )


def spread_note(s: Spread) -> str:
    """How many levels, and how many weights are left, in words."""
    levels = f"{len(s.levels)} levels, " if s.levels is not None else ""
    return f"{levels}{s.kept:,} of {s.weights:,} left"


def zero_notes(s: Spread) -> list[str]:
    """Share of zeros, and what is empty, in words."""
    notes = [f"{100 * (s.weights - s.kept) / s.weights:.1f} % zeros"]
    rows, columns = s.shape[0], s.shape[1]
    if math.prod(s.shape[2:]) > 1:
        notes.append(f"{s.empty.kernels:,} of {rows * columns:,} kernels empty")
    notes.append(f"empty rows {s.empty.rows:,} of {rows:,}, columns {s.empty.columns:,} of {columns:,}")
    return notes


def _histogram(s: Spread) -> Markup:
    shown = Histogram(s.low, s.high, s.before, s.after, s.levels)
    return histogram_chart(shown, layer_name(s.name), spread_note(s))


def _picture(s: Spread) -> Markup:
    return kernel_picture(s.grid.cells(), layer_name(s.name), zero_notes(s))
