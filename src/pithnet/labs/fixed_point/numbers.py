"""What the template of `lab fixed-point` is filled in with, beside the rows themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pithnet.labs.fixed_point.repairs import CHOSEN
from pithnet.labs.fixed_point.schemes import RIVALS, SYMMETRIC, WITH_ZERO
from pithnet.labs.notebook import Notebook, Row

_DIFFERENCES = {
    SYMMETRIC: "Symmetry alone (2^b levels from -max to max, against 2^b from the least to the greatest)",
    WITH_ZERO: "The number of levels alone (2^b - 1 with zero among them, against 2^b without zero)",
}
SOURCE_UNTUNED = {6: 0.9145, 5: 0.9112, 4: 0.8972, 3: 0.7662, 2: 0.0899}  # the source's table, by bits


def numbers(book: Notebook) -> dict[str, Any]:
    """Returns which items have curves over epochs, and functions that pick and compare rows."""
    return {
        "several_epochs": {r["item"] for r in book.rows if r.get("epochs", 0) > 1},
        "kinds": lambda item: list(dict.fromkeys(r["levels"] for r in book.of(item))),
        "DIFFERENCES": _DIFFERENCES,
        "WITH_ZERO": WITH_ZERO,
        "CHOSEN": CHOSEN,
        "SOURCE_UNTUNED": SOURCE_UNTUNED,
        "shifts": shifts(book),
        "best_for_their_bits": lambda rows: [stages(r) for r in best_for_their_bits(rows)],
        "beaten": lambda rows: beaten(book, rows),
        "stages": stages,
        "repairs": repairs(book),
    }


def stages(row: Row) -> str:
    """Says the bits of a mixed scheme: '{4,4,2}'."""
    return "{" + ",".join(map(str, row["bits"])) + "}"


def shifts(book: Notebook) -> Row:
    """Returns how far rounding moves a layer's mean weight, symmetric and not, if that differs twice.

    The bits are the fewest above 2, with which hardly any network is left.
    """
    rows = [r for r in book.of("1") if r["where"] == "blocks"]
    widths = sorted({r["bits"] for r in rows})
    telling = next((bits for bits in widths if bits > 2), None) if widths else None
    paired = {r["levels"]: r["shift"] for r in rows if r["bits"] == telling}
    mine, theirs = paired.get(SYMMETRIC), paired.get(RIVALS[SYMMETRIC])
    if mine is None or theirs is None or theirs < 2 * mine:
        return {}
    return {"bits": telling, "symmetric": mine, "source": theirs}


def best_for_their_bits(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows that no other of them dominates."""
    return [r for r in rows if not any(_dominates(other, r) for other in rows)]


def beaten(book: Notebook, rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Returns the best rows that as many bits in all blocks dominate, each with that row of item 2."""
    uniform = [r for r in book.of("2") if r["where"] == "blocks"]
    pairs = ((r, u) for r in best_for_their_bits(rows) for u in uniform if u["levels"] == r["levels"])
    return [(r, u) for r, u in pairs if _dominates(u, r)]


def _dominates(one: Row, other: Row) -> bool:
    """Whether `one` is at least as accurate with no more bits, and better in one of the two."""
    no_worse = one["accuracy"] >= other["accuracy"] and one["average_bits"] <= other["average_bits"]
    differs = (one["accuracy"], one["average_bits"]) != (other["accuracy"], other["average_bits"])
    return bool(no_worse and differs)


def repairs(book: Notebook) -> list[Row]:
    """Groups item 7 by layers and bits: rows, the one nearest to the float network, the recommended one."""
    found = []
    for where, layers in (("all", "all layers"), ("blocks", "the blocks alone")):
        for bits in sorted({r["bits"] for r in book.of("7")}, reverse=True):
            rows = [r for r in book.of("7") if (r["where"], r["bits"]) == (where, bits)]
            chosen = next(r for r in rows if r["levels"] == CHOSEN)
            nearest = min(rows, key=lambda r: float(r["divergence"]))
            found.append({"layers": layers, "bits": bits, "rows": rows, "nearest": nearest, "chosen": chosen})
    return found
