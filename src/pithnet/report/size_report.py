"""The file's bytes: against the trivial ways to make it smaller, stage by stage, and by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from pithnet.report.bar_charts import Bar, BarChart, Part, bar_charts
from pithnet.report.figures import COLOURS
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
_STAGES = (
    "The stages up to `shared` are what a plain format would take; from `coded` on they are bytes of the "
    "file, and the last one is the file, to the byte."
)
_ENLARGED_FROM = 3  # an enlarged chart is worth its place where the scale changes by more


def size_figures(record: RunRecord) -> dict[str, Figure]:
    """Draws `sizes` against trivial ways, the `stages` and the `parts` of the file, if there is one."""
    r = record.results
    if r.bytes is None:
        return {}
    found = stages(r)
    drawn = {"sizes": _rivals(r)}
    if found:
        drawn["stages"] = _stages(found)
    if any(r.parts.values()):
        drawn["parts"] = _by_part(r.parts, _known(r), r.bytes)
    return drawn


def add_size(page: Page, record: RunRecord, figures: Mapping[str, Figure]) -> None:
    """Adds bars of all sizes, of the stages and of the file's parts, for results that have a file."""
    r = record.results
    if r.bytes is None:
        return
    page.section("Where the bytes went")
    if "stages" in figures:
        meanings = "; ".join(f"**{stage.name}**: {stage.meaning}" for stage in stages(r))
        page.figure(figures["stages"], f"{meanings}. {_STAGES}", "From float32 to the file")
    if record.plan:
        page.text(
            f"The plan made before any training expected {record.plan.bytes:,} bytes; "
            f"the file has {r.bytes:,}."
        )
    notes = "; ".join(f"**{name}**: {_PARTS[name]}" for name in _known(r) if name in _PARTS)
    shown = {"sizes": f"The file {_against(r).lower()}", "parts": "The bytes of the file by part"}
    drawn = {title: figures[name] for name, title in shown.items() if name in figures}
    page.figures(drawn, notes and f"{notes}.")


def _known(r: Results) -> list[str]:
    """The file's parts that take any bytes."""
    return [name for name in (*_PARTS, *sorted(set(r.parts) - set(_PARTS))) if r.parts.get(name)]


def _stages(found: Sequence[Stage]) -> Figure:
    """All stages, and beside them the last ones again where they would be too short to see."""
    names = [stage.name for stage in found]
    late = found[names.index("shared") :]
    times = found[0].bytes / late[0].bytes
    shown = {"From float32 to the file, stage by stage, in bytes": found}
    if times > _ENLARGED_FROM:
        shown[f"The last {len(late)} stages again, enlarged {times:.1f} times"] = late
    return bar_charts([BarChart(title, _waterfall(some)) for title, some in shown.items()])


def _waterfall(found: Sequence[Stage]) -> list[Bar]:
    bars = []
    for i, stage in enumerate(found):
        before = found[i - 1].bytes if i else stage.bytes
        parts = tuple(Part(stage.parts[key], colour, name) for key, (name, colour) in STAGE_PARTS.items())
        change = f" ({stage.bytes - before:+,})" if i else ""
        bars.append(Bar(stage.name, parts, f"{stage.bytes:,}{change}", max(before - stage.bytes, 0)))
    return bars


def _rivals(r: Results) -> Figure:
    assert r.bytes is not None
    sizes = {"float32": (r.float_bytes, "")} if r.float_bytes else {}
    sizes |= {name: (rival.bytes, rival.about) for name, rival in r.rivals.items()}
    bars = [
        Bar(name, (Part(size, _GREY),), _with_ratio(size, r, about)) for name, (size, about) in sizes.items()
    ]
    bars.append(Bar("this file", (Part(r.bytes, 0),), _with_ratio(r.bytes, r)))
    return bar_charts([BarChart(f"{_against(r)}, in bytes", bars)])


def _against(r: Results) -> str:
    estimated = " (~ estimated from samples)" if any(rival.estimated for rival in r.rivals.values()) else ""
    return f"Against the trivial ways{estimated}" if r.rivals else "Against float32"


def _by_part(parts: dict[str, int], known: Sequence[str], whole: int) -> Figure:
    pieces = [Part(parts[name], i % len(COLOURS)) for i, name in enumerate(known)]
    bars = [Bar("all", tuple(pieces), f"{whole:,}")]
    for name, piece in zip(known, pieces, strict=True):
        bars.append(Bar(name, (piece,), f"{parts[name]:,} ({100 * parts[name] / whole:.1f} %)"))
    return bar_charts([BarChart("The file by part, in bytes", bars, longest=whole)])


def _with_ratio(size: int, r: Results, about: str = "") -> str:
    return about + (f"{size:,} ({r.float_bytes / size:.1f}x)" if r.float_bytes else f"{size:,}")
