"""Symmetric levels on the page of `lab fixed-point`: symmetry apart from the number of levels."""

from __future__ import annotations

from collections.abc import Sequence

from pithnet.labs.fixed_point.schemes import RIVALS, SYMMETRIC, WITH_ZERO
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import percent, rivalry, score

_ASKED = {
    SYMMETRIC: "Symmetry alone (2^b levels from -max to max, against 2^b from the least to the greatest)",
    WITH_ZERO: "The number of levels alone (2^b - 1 with zero among them, against 2^b without zero)",
}


def symmetric_untrained(book: Notebook) -> str:
    """On item 1; empty where it has no symmetric rows."""
    rows = [r for r in book.of("1") if r["levels"] in RIVALS]
    if not rows:
        return ""
    return f"{_compared(rows)}{_shifts(book.of('1'))} {_zeros(rows)} {_KNOWN}"


def symmetric_trained(book: Notebook) -> str:
    """On item 4, whose rows are trained from the labels alone as their rivals are."""
    rows = book.of("4")
    before = "; ".join(f"{r['what']} {percent(r['accuracy_before'])}" for r in rows)
    return f"{_compared(rows)} Before training: {before}. {_zeros(rows)} {_KNOWN}"


_KNOWN = (
    "Known beside this run: the usual symmetric grid, which has zero, differs from the source's levels in "
    "both at once, so that comparing these two says nothing of symmetry. Without zero the step over the same "
    "range is (2^b - 2) / (2^b - 1) of the grid's: 14/15 at 4 bits, 6/7 at 3, 2/3 at 2. The grid needs no "
    "offset and keeps zero, so that integer kernels are simpler; it leaves one of the 2^b codes unused."
)


def _compared(rows: Sequence[Row]) -> str:
    """Each of the two differences by itself, at every width."""
    parts = []
    for levels, asked in _ASKED.items():
        mine = [r for r in rows if r["levels"] == levels]
        listed = "; ".join(f"{r['bits']} bits {percent(r['accuracy'])}, {rivalry(r)}" for r in mine)
        parts += [f"{asked}: {listed}. {score(mine)}"] if mine else []
    return " ".join(parts)


def _shifts(rows: Sequence[Row]) -> str:
    """How far rounding moves a layer's mean weight with few bits, as a reason for the difference."""
    paired = {r["levels"]: r for r in rows if r["where"] == "blocks" and r["bits"] == _telling(rows)}
    mine, theirs = paired.get(SYMMETRIC), paired.get(RIVALS[SYMMETRIC])
    if mine is None or theirs is None or theirs["shift"] < 2 * mine["shift"]:
        return ""
    return (
        f" Rounding at {mine['bits']} bits moves the mean weight of a layer by {mine['shift']:.3f} of its "
        f"standard deviation with symmetric levels and by {theirs['shift']:.3f} with the source's, which is "
        "one reason: what follows expects the sums that the float weights gave. Symmetric "
        "levels treat small weights of both signs alike, while an asymmetric range puts zero anywhere "
        "between two levels, and most small weights go to the nearer one."
    )


def _telling(rows: Sequence[Row]) -> int:
    """The fewest bits above 2: with 2 hardly any network is left."""
    widths = sorted({int(r["bits"]) for r in rows})
    return next((bits for bits in widths if bits > 2), widths[0])


def _zeros(rows: Sequence[Row]) -> str:
    """What the level zero takes at the fewest bits."""
    mine = [r for r in rows if r["levels"] == WITH_ZERO]
    if not mine:
        return ""
    fewest = min(mine, key=lambda r: int(r["bits"]))
    return (
        f"With zero among {2 ** fewest['bits'] - 1} levels ({fewest['bits']} bits) every weight below half a "
        f"step is lost: {percent(fewest['zeros'] / fewest['weights'])} of all weights are zero, and the "
        f"network is at {percent(fewest['accuracy'])}."
    )
