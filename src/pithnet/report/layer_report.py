"""The stored tensors of a file, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from pithnet.report.bar_charts import Bar, BarChart, Part, bar_charts
from pithnet.report.page import Page
from pithnet.results.run_record import RunRecord, StoredTensor

PART_COLOURS = {"positions": 0, "symbols": 1, "codebook": 2, "other": 6}
_CAPTION = (
    "Weights; a click on a column's head sorts by it. Bits are those per value, zeros included, shares "
    "those of the file."
)
_PLANNED = " Planned: bytes expected before any training."
_ROW = 0.21  # inches of a bar
_MOST_BARS = 40  # a longer list of layers is folded


def layer_figures(record: RunRecord) -> dict[str, Figure]:
    """Draws `layers`: bytes, zeros and bits of each weight, for results that know the file's tensors."""
    weights = [t for t in record.results.tensors if t.is_weight]
    if not weights or not record.results.bytes:
        return {}
    charts = [
        BarChart("Bytes", _bytes_bars(weights)),
        BarChart("Zeros", _zeros_bars(weights), longest=100, labels=False),
        BarChart("Bits per weight, zeros included", _bits_bars(weights), labels=False),
    ]
    return {"layers": bar_charts(charts, track=2.6, row=_ROW)}


def add_layers(page: Page, record: RunRecord, figures: Mapping[str, Figure]) -> None:
    """Adds bars and a table of the weights, and a folded table of the vectors (biases, normalisation)."""
    tensors, whole = record.results.tensors, record.results.bytes
    if not tensors or not whole:
        return
    page.section("Layers")
    planned = {layer.name: layer.bytes for layer in record.plan.layers} if record.plan else {}
    weights = [t for t in tensors if t.is_weight]
    vectors = [t for t in tensors if not t.is_weight]
    if weights:
        folded = f"Bars of all {len(weights)} layers" if len(weights) > _MOST_BARS else ""
        page.figure(figures["layers"], title="Bytes, zeros and bits of each layer", folded=folded)
        rows = [_row(t, whole, planned) for t in weights]
        page.table(rows, caption=_CAPTION + (_PLANNED if planned else ""), total=_total(weights, whole))
    if record.results.left_out:
        page.table(
            [{"left out": p.name, "parameters": p.parameters, "why": p.why} for p in record.results.left_out],
            folded="Tensors under no mask, codebook or quantizer, largest first",
        )
    if vectors:
        spent = sum(t.spent for t in vectors)
        folded = f"Vectors (biases, normalisation; {len(vectors)} in all): {spent:,} bytes"
        page.table([_row(t, whole, {}) for t in vectors], folded=folded)


def _bytes_bars(weights: Sequence[StoredTensor]) -> list[Bar]:
    return [
        Bar(
            t.short,
            tuple(Part(t.bytes.get(part, 0), colour, part) for part, colour in PART_COLOURS.items()),
            f"{t.spent:,}",
        )
        for t in weights
    ]


def _zeros_bars(weights: Sequence[StoredTensor]) -> list[Bar]:
    shares = [100 * t.zeros / max(t.size, 1) for t in weights]
    return [Bar(t.short, (Part(s),), f"{s:.1f} %") for t, s in zip(weights, shares, strict=True)]


def _bits_bars(weights: Sequence[StoredTensor]) -> list[Bar]:
    return [Bar(t.short, (Part(t.bits, 5),), f"{t.bits:.2f}") for t in weights]


def _row(t: StoredTensor, whole: int, planned: Mapping[str, int]) -> dict[str, object]:
    return {
        "tensor": t.short,
        "shape": "×".join(map(str, t.shape)) or "scalar",
        "values": t.size,
        "zeros": t.zeros,
        "zeros (%)": 100 * t.zeros / max(t.size, 1),
        "levels": t.levels,
        "bits": t.bits,
        "bytes": t.spent,
        "share (%)": 100 * t.spent / whole,
        **({"planned": planned[t.short]} if t.short in planned else {}),
        **{part: t.bytes.get(part, 0) for part in PART_COLOURS},
        "coding": t.coding,
    }


def _total(weights: Sequence[StoredTensor], whole: int) -> dict[str, object]:
    values, zeros, spent = (sum(n) for n in zip(*((t.size, t.zeros, t.spent) for t in weights), strict=True))
    return {
        "tensor": "all weights",
        "values": values,
        "zeros": zeros,
        "zeros (%)": 100 * zeros / max(values, 1),
        "bits": 8 * spent / max(values, 1),
        "bytes": spent,
        "share (%)": 100 * spent / whole,
        **{part: sum(t.bytes.get(part, 0) for t in weights) for part in PART_COLOURS},
    }
