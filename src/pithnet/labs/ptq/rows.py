"""The rows of `lab ptq` as its tables, figures and answers look at them."""

from __future__ import annotations

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.ptq.comparisons import comparisons
from pithnet.labs.ptq.source import FLOAT, STATIC


def files(book: Notebook) -> list[Row]:
    """Item 2: files of the network that were measured."""
    return [r for r in book.of("2") if "file" in r and "accuracy" in r]


def times(book: Notebook) -> list[Row]:
    """Item 2: files timed, by size of batch and number of threads."""
    return [r for r in book.of("2") if "ms" in r]


def sizes(book: Notebook) -> list[Row]:
    """Item 2: files of the network whose size alone counts."""
    return [r for r in book.of("2") if "note" in r]


def measured_groups(book: Notebook) -> list[str]:
    """Item 3: the comparisons of which every scheme has been measured, and "sparsity" where that has been."""
    known = {r["what"] for r in book.of("3")}
    found = [name for name, all_ in comparisons().items() if {e.scheme.what for e in all_} <= known]
    return found + (["sparsity"] if layers(book) else [])


def group(book: Notebook, name: str) -> list[Row]:
    """Item 3: the schemes of one comparison in its order, each with its rival there."""
    return [_with_rival(row, name) for row in _ordered(book, name) if name in row["groups"]]


def _ordered(book: Notebook, name: str) -> list[Row]:
    places = {e.scheme.what: i for i, e in reversed(list(enumerate(comparisons().get(name, ()))))}
    return sorted(book.of("3"), key=lambda row: places.get(row["what"], 0))


def _with_rival(row: Row, name: str) -> Row:
    rivals: list[Row] = [r for r in row.get("rivals", ()) if r["group"] == name]
    kept = {k: v for k, v in row.items() if k not in ("groups", "rivals")}
    return kept | {k: v for r in rivals for k, v in r.items() if k != "group"}


def layers(book: Notebook) -> list[Row]:
    """Item 3: the float network's layers."""
    return [layer for row in group(book, "sparsity") for layer in row["layers"]]


def float_file(book: Notebook) -> Row:
    return next(r for r in files(book) if r["kind"] == FLOAT)


def static_file(book: Notebook) -> Row:
    """The house's static int8 file."""
    return next(r for r in files(book) if r["kind"] == STATIC)
