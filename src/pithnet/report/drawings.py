"""Small drawings of a layer's weights, histograms and grids of kernels, and the timeline of a run."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pithnet.errors import PithError
from pithnet.report.charts import COLOURS
from pithnet.report.numbers import column_texts
from pithnet.report.templating import render

# Stretched to the width there is; texts stand beside the drawing, where they keep their size.
_WIDTH, _HEIGHT = 240.0, 100.0
_RGB = (58, 136, 222)  # to be seen on light and dark


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins from low to high.

    levels: (value, count), drawn as stems instead of `after`.
    """

    low: float
    high: float
    before: Sequence[int] | None
    after: Sequence[int]
    levels: Sequence[tuple[float, int]] | None


def histogram_chart(h: Histogram, title: str, note: str) -> Markup:
    """Weights before (area) and after (stems or outline) on one scale of counts.

    Raises PithError where before and after have not the same bins.
    """
    if h.before is not None and len(h.before) != len(h.after):
        raise PithError(f"histogram {title!r} has {len(h.before)} bins before and {len(h.after)} after")
    stems = [] if h.levels is None else [(_across(h, value), count) for value, count in h.levels]
    shown = [count for _, count in stems] if h.levels is not None else list(h.after)
    top = max([*shown, *(h.before or ()), 1])
    bins = ([["before", list(h.before)]] if h.before is not None else []) + [["after", list(h.after)]]
    return render(
        "histogram.html",
        title=title,
        note=note,
        bins=json.dumps(bins, separators=(",", ":")),
        low=repr(h.low),
        high=repr(h.high),
        width=_WIDTH,
        height=_HEIGHT,
        zero=_across(h, 0.0) if h.low < 0 < h.high else None,
        before=_area(h.before, top) if h.before is not None else "",
        after="" if h.levels is not None else _area(h.after, top),
        stems=[(x, _HEIGHT * (1 - count / top)) for x, count in stems],
        ends=column_texts([h.low, h.high]),
    )


def _across(h: Histogram, value: float) -> float:
    return _WIDTH * (value - h.low) / (h.high - h.low) if h.high > h.low else _WIDTH / 2


def _area(counts: Sequence[int], top: int) -> str:
    """The path of a staircase down to the base line."""
    step = _WIDTH / len(counts)
    stairs = [
        f"V{_HEIGHT * (1 - n / top):.1f}H{step * i:.1f}".replace(".0", "") for i, n in enumerate(counts, 1)
    ]
    return f"M0 {_HEIGHT:.0f}{''.join(stairs)}V{_HEIGHT:.0f}Z"


def kernel_picture(cells: NDArray[np.uint8], title: str, notes: Sequence[str]) -> Markup:
    """Cells (rows, columns) as pixels: the higher the value, the stronger the colour, 0 the background."""
    rows, columns = cells.shape
    data = base64.b64encode(alpha_png(cells)).decode()
    return render("picture.html", title=title, notes=notes, data=data, rows=rows, columns=columns)


def alpha_png(cells: NDArray[np.uint8]) -> bytes:
    """A PNG (rows, columns) in one colour, its opacity the cell's value / 255; a palette entry per value."""
    values, indices = np.unique(cells, return_inverse=True)
    lines = indices.reshape(cells.shape).astype(np.uint8)
    rows, columns = cells.shape
    # Each line begins with its filter: 0, none.
    pixels = np.concatenate([np.zeros((rows, 1), np.uint8), lines], axis=1)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes(_RGB) * len(values)),
        (b"tRNS", values.tobytes()),
        (b"IDAT", zlib.compress(pixels.tobytes(), 9)),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@dataclass(frozen=True)
class Span:
    """A stretch of the timeline, as long as its seconds."""

    name: str
    seconds: float
    tip: str


@dataclass(frozen=True)
class Mark:
    """Something that happened at that second."""

    seconds: float
    text: str


def timeline(spans: Sequence[Span], marks: Sequence[Mark], title: str, ends: tuple[str, str]) -> Markup:
    """Spans one after the other, marks above them; `ends` are the texts under its beginning and end.

    Raises PithError where the spans take no time.
    """
    whole = sum(span.seconds for span in spans)
    if not whole > 0:
        raise PithError(f"timeline {title!r} has no span that takes time")
    return render(
        "timeline.html",
        title=title,
        spans=[(s.name, i % COLOURS, 100 * s.seconds / whole, s.tip) for i, s in enumerate(spans)],
        marks=[(100 * min(max(m.seconds / whole, 0.0), 1.0), m.text) for m in marks],
        ends=ends,
    )
