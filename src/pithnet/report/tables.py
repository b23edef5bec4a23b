"""Rows (dictionaries) as tables: for a page, and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pithnet.atomic import write_atomic
from pithnet.errors import PithError, nearest
from pithnet.report.numbers import columns_texts, plain

Row = Mapping[str, Any]
_SHORT = 28


@dataclass(frozen=True)
class Column:
    """A table's column as it is shown; `numeric` ones are aligned to the right."""

    heading: str
    cells: tuple[str, ...]
    numeric: bool

    @property
    def short(self) -> bool:
        """Whether its texts need no line break, even on a phone."""
        return max(map(len, self.cells), default=0) <= _SHORT


def column_names(rows: Sequence[Row], columns: Sequence[str] | None = None) -> list[str]:
    """Returns the keys of all rows in the order in which they first appear, or `columns` as given.

    Raises:
        PithError: Where no row has one of the columns.
    """
    known = list(dict.fromkeys(key for row in rows for key in row))
    for name in columns or ():
        if rows and name not in known:  # the rows at hand decide: in other rows there may be such a column
            raise PithError(f"no row has a column {name!r}.{nearest(name, known)}")
    return known if columns is None else list(columns)


def table_columns(rows: Sequence[Row], columns: Sequence[str] | None = None) -> list[Column]:
    """Returns what a page shows of `rows`: a dash where a row lacks a key, underscores of names as spaces."""
    names = column_names(rows, columns)
    texts = columns_texts([[row.get(name) for row in rows] for name in names])
    return [Column(name.replace("_", " "), *found) for name, found in zip(names, texts, strict=True)]


def write_csv(path: str | Path, rows: Sequence[Row], columns: Sequence[str] | None = None) -> None:
    """Writes rows as CSV (UTF-8, a header line), whole or not at all.

    Numbers keep all their digits, None and missing keys are empty, lists and dictionaries are JSON.

    Args:
        path: The file to write.
        rows: Dictionaries, one for each line.
        columns: Which keys, in which order; all of them in the order of appearance where it is None.

    Raises:
        PithError: Where no row has one of the columns, or the file cannot be written.
    """
    names = column_names(rows, columns)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_csv_cell(plain(row.get(name))) for name in names])
    write_atomic(Path(path), buffer.getvalue().encode())


def _csv_cell(value: Any) -> Any:
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value, default=plain)
    return value
