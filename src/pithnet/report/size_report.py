"""The file's bytes: against the trivial ways to make it smaller, by part, and against the formula."""

from __future__ import annotations

from pithnet.report.charts import COLOURS, Bar, Part, bar_chart
from pithnet.report.page import Page
from pithnet.report.run_record import Results

_PARTS = {
    "positions": "where the weights that are not zero are",
    "symbols": "which level each of them has",
    "codebooks": "the levels and the code tables",
    "norm": "batch normalisation",
    "header": "names, shapes, recipe, accuracy claimed",
    "checksums": "CRC of every record and of the file",
    "other": "biases, lengths",
}
_GREY = 6


def add_size(page: Page, r: Results) -> None:
    """Bars of all sizes and of the file's parts, for results that have a file."""
    if r.bytes is None:
        return
    page.section("Where the bytes went")
    sizes = {"float32": r.float_bytes} if r.float_bytes else {}
    sizes |= {name: rival.bytes for name, rival in r.rivals.items()}
    bars = [Bar(name, (Part(size, _GREY),), _with_ratio(size, r)) for name, size in sizes.items()]
    bars.append(Bar("this file", (Part(r.bytes, 0),), _with_ratio(r.bytes, r)))
    page.row([bar_chart(bars, "Size against the trivial ways, in bytes")])
    _add_parts(page, r.parts, r.bytes)
    if r.formula_ratio:
        real = f"; the real file is {r.float_bytes / r.bytes:.1f}x smaller" if r.float_bytes else ""
        page.text(
            f"Deep Compression's formula gives **{r.formula_ratio:.1f}x**{real}. The formula counts only the "
            "code words of weights that are not zero: no positions, codebooks, normalisation or header."
        )


def _add_parts(page: Page, parts: dict[str, int], whole: int) -> None:
    known = [name for name in (*_PARTS, *sorted(set(parts) - set(_PARTS))) if parts.get(name)]
    if not known:
        return
    pieces = [Part(parts[name], i % COLOURS) for i, name in enumerate(known)]
    bars = [Bar("all", tuple(pieces), f"{whole:,}")]
    for name, piece in zip(known, pieces, strict=True):
        bars.append(Bar(name, (piece,), f"{parts[name]:,} ({100 * parts[name] / whole:.1f} %)"))
    notes = "; ".join(f"**{name}**: {_PARTS[name]}" for name in known if name in _PARTS) + "."
    page.row([bar_chart(bars, "The file by part, in bytes", longest=whole)], notes)


def _with_ratio(size: int, r: Results) -> str:
    return f"{size:,} ({r.float_bytes / size:.1f}x)" if r.float_bytes else f"{size:,}"
