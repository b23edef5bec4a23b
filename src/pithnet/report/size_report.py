"""The file's bytes: against the trivial ways to make it smaller, stage by stage, and by part."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pithnet.report.charts import COLOURS, Bar, Part, bar_chart
from pithnet.report.page import Page
from pithnet.report.waterfall import Stage, stages
from pithnet.results.run_record import Results, RunRecord

_PARTS = {
    "positions": "where the weights that are not zero are",
    "symbols": "which level each of them has",
    "codebooks": "the levels and the code tables",
    "norm": "batch normalisation",
    "header": "names, shapes, recipe, accuracy claimed",
    "checksums": "CRC of every record and of the file",
    "other": "biases, lengths",
}
# Name and colour of a stage's parts.
STAGE_PARTS = {
    "positions": ("positions of the non-zeros", 0),
    "values": ("values of the weights", 1),
    "levels": ("levels", 2),
    "vectors": ("normalisation, biases", 3),
    "frame": ("header, checksums, lengths", 4),
    "unsplit": ("all of it", 6),
}
_GREY = 6
_ENLARGED_FROM = 3  # an enlarged chart is worth its place where the scale changes by more


def add_size(page: Page, record: RunRecord) -> None:
    """Bars of all sizes, of the stages and of the file's parts, for results that have a file."""
    r = record.results
    if r.bytes is None:
        return
    page.section("Where the bytes went")
    _add_stages(page, stages(r))
    if record.plan:
        page.text(
            f"The plan made before any training expected {record.plan.bytes:,} bytes; "
            f"the file has {r.bytes:,}."
        )
    drawings = [_rivals(r)]
    known = [name for name in (*_PARTS, *sorted(set(r.parts) - set(_PARTS))) if r.parts.get(name)]
    if known:
        drawings.append(_by_part(r.parts, known, r.bytes))
    notes = "; ".join(f"**{name}**: {_PARTS[name]}" for name in known if name in _PARTS)
    page.row(drawings, f"{notes}." if notes else "")


def _add_stages(page: Page, found: Sequence[Stage]) -> None:
    if not found:
        return
    page.row([_waterfall(found, "From float32 to the file, stage by stage, in bytes", notes=True)])
    names = [stage.name for stage in found]
    late = found[names.index("shared") :]
    times = found[0].bytes / late[0].bytes
    if times > _ENLARGED_FROM:
        title = f"The last {len(late)} stages again, enlarged {times:.1f} times"
        page.row(
            [_waterfall(late, title)],
            "The stages up to `shared` are what a plain format would take; from `coded` on they are bytes of "
            "the file, and the last one is the file, to the byte.",
        )


def _waterfall(found: Sequence[Stage], title: str, notes: bool = False) -> Markup:
    bars = []
    for i, stage in enumerate(found):
        before = found[i - 1].bytes if i else stage.bytes
        parts = tuple(Part(stage.parts[key], colour, name) for key, (name, colour) in STAGE_PARTS.items())
        change = f" ({stage.bytes - before:+,})" if i else ""
        gone = max(before - stage.bytes, 0)
        note = f"{stage.meaning[0].upper()}{stage.meaning[1:]}." if notes else ""
        bars.append(Bar(stage.name, parts, f"{stage.bytes:,}{change}", gone, note))
    return bar_chart(bars, title)


def _rivals(r: Results) -> Markup:
    assert r.bytes is not None
    sizes = {"float32": (r.float_bytes, "")} if r.float_bytes else {}
    sizes |= {name: (rival.bytes, rival.about) for name, rival in r.rivals.items()}
    bars = [
        Bar(name, (Part(size, _GREY),), _with_ratio(size, r, about)) for name, (size, about) in sizes.items()
    ]
    bars.append(Bar("this file", (Part(r.bytes, 0),), _with_ratio(r.bytes, r)))
    return bar_chart(bars, _against(r) + ", in bytes")


def _against(r: Results) -> str:
    estimated = " (~ estimated from samples)" if any(rival.estimated for rival in r.rivals.values()) else ""
    return f"Against the trivial ways{estimated}" if r.rivals else "Against float32"


def _by_part(parts: dict[str, int], known: Sequence[str], whole: int) -> Markup:
    pieces = [Part(parts[name], i % COLOURS) for i, name in enumerate(known)]
    bars = [Bar("all", tuple(pieces), f"{whole:,}")]
    for name, piece in zip(known, pieces, strict=True):
        bars.append(Bar(name, (piece,), f"{parts[name]:,} ({100 * parts[name] / whole:.1f} %)"))
    return bar_chart(bars, "The file by part, in bytes", longest=whole)


def _with_ratio(size: int, r: Results, about: str = "") -> str:
    return about + (f"{size:,} ({r.float_bytes / size:.1f}x)" if r.float_bytes else f"{size:,}")
