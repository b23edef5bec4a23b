"""The stored tensors of a file, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from pithnet.report.charts import Bar, Part, bar_chart
from pithnet.report.page import Page
from pithnet.report.run_record import StoredTensor

_COLOURS = {"positions": 0, "symbols": 1, "codebook": 2, "other": 6}


def add_layers(page: Page, tensors: Sequence[StoredTensor]) -> None:
    """Bars and a table of the weights; the vectors (biases, normalisation) as one sum, their table folded."""
    if not tensors:
        return
    page.section("Layers")
    weights = [t for t in tensors if len(t.shape) > 1]
    vectors = [t for t in tensors if len(t.shape) <= 1]
    if weights:
        page.row([_bytes_chart(weights), _zeros_chart(weights), _bits_chart(weights)])
        page.table([*map(_row, weights), _total(weights)], caption="Weights")
    if vectors:
        title = f"Vectors (biases, normalisation; {len(vectors)} in all): {sum(map(_spent, vectors)):,} bytes"
        page.table(
            [_row(t) for t in vectors],
            folded=title,
        )


def _bytes_chart(weights: Sequence[StoredTensor]) -> Markup:
    bars = [
        Bar(
            _short(t.name),
            tuple(Part(t.bytes.get(part, 0), colour, part) for part, colour in _COLOURS.items()),
            f"{_spent(t):,}",
        )
        for t in weights
    ]
    return bar_chart(bars, "Bytes", compact=True)


def _zeros_chart(weights: Sequence[StoredTensor]) -> Markup:
    shares = [100 * t.zeros / max(_count(t), 1) for t in weights]
    bars = [Bar(_short(t.name), (Part(s),), f"{s:.1f} %") for t, s in zip(weights, shares, strict=True)]
    return bar_chart(bars, "Zeros", longest=100, compact=True)


def _bits_chart(weights: Sequence[StoredTensor]) -> Markup:
    bars = [Bar(_short(t.name), (Part(t.bits, 5),), f"{t.bits:.2f}") for t in weights]
    return bar_chart(bars, "Bits per weight, zeros included", compact=True)


def _row(t: StoredTensor) -> dict[str, object]:
    return {
        "tensor": _short(t.name),
        "shape": "×".join(map(str, t.shape)) or "scalar",
        "values": _count(t),
        "zeros": t.zeros,
        "zeros (%)": 100 * t.zeros / max(_count(t), 1),
        "levels": t.levels,
        "bits each": t.bits,
        "bytes": _spent(t),
        **{part: t.bytes.get(part, 0) for part in _COLOURS},
        "coding": t.coding,
    }


def _total(weights: Sequence[StoredTensor]) -> dict[str, object]:
    values, zeros, spent = sum(map(_count, weights)), sum(t.zeros for t in weights), sum(map(_spent, weights))
    return {
        "tensor": "all weights",
        "values": values,
        "zeros": zeros,
        "zeros (%)": 100 * zeros / max(values, 1),
        "bits each": 8 * spent / max(values, 1),
        "bytes": spent,
        **{part: sum(t.bytes.get(part, 0) for t in weights) for part in _COLOURS},
    }


def _count(t: StoredTensor) -> int:
    return math.prod(t.shape)


def _spent(t: StoredTensor) -> int:
    return sum(t.bytes.values())


def _short(name: str) -> str:
    return name.removesuffix(".weight")
