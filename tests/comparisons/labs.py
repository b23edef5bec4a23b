"""What the labs compare after training or optimising, from their rows, so that tests judge runs they have."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from comparisons import Value, comparison
from pithnet.labs.fixed_point import experiment as fixed_point
from pithnet.labs.fixed_point.repairs import CHOSEN, MATCHED, PLAIN
from pithnet.labs.options import LabOptions
from pithnet.run.progress import Quiet

Rows = Mapping[str, Mapping[str, Any]]


def repairs_of(rows: Rows) -> Iterator[Value]:
    """Item 7, 2 bits: the distance to the float network after repairs, as a share of that without."""
    for where in ("all layers", "blocks"):
        plain, matched, chosen = (
            rows[f"{way}, 2 bits, {where}"]["divergence"] for way in (PLAIN, MATCHED, CHOSEN)
        )
        yield Value(f"matched norms, {where}", matched / plain, 1 / 1.5)
        yield Value(f"all repairs, {where}", chosen / plain, 1 / 3)


def few_bits_of(rows: Rows) -> Iterator[Value]:
    """Item 1: the loss with 6 bits as a share of the loss with 2."""
    for levels in ("source", "ours"):
        for where in ("blocks", "all layers"):
            many, few = (rows[f"{levels}, {bits} bits, {where}"]["loss"] for bits in (6, 2))
            yield Value(f"{levels}, {where}", many / few, 1 / 2)


@comparison
def lab_repairs_without_labels(seed: int) -> Iterator[Value]:
    """Lab fixed-point, item 7, on a network trained with that seed."""
    yield from repairs_of(_rows("7", seed))


@comparison
def lab_bits_without_training(seed: int) -> Iterator[Value]:
    """Lab fixed-point, item 1, on a network trained with that seed."""
    yield from few_bits_of(_rows("1", seed))


def _rows(item: str, seed: int) -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        options = LabOptions(quick=True, items=item, seed=seed)
        path = fixed_point.run(Path(folder) / "lab", options, progress=Quiet())
        rows = json.loads(path.read_text())["rows"]
    return {row["what"]: row for row in rows if row["item"] == item}
