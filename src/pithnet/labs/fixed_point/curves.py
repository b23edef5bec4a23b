"""The curves of `lab fixed-point`: accuracy in percent against bits, bits per weight and epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pithnet.labs.fixed_point.schemes import SOURCE
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.pictures import Points

Curves = dict[str, Points]


def untrained(book: Notebook) -> Curves:
    """Item 1 against bits, a curve for each kind of levels and layers."""
    return _grouped(book.of("1"), "bits", _kind, _accuracy)


def trained(book: Notebook) -> Curves:
    """Item 2 against bits, trained and before."""
    rows = book.of("2")
    before = _grouped(rows, "bits", lambda r: f"{_kind(r)}, untrained", lambda r: 100 * r["accuracy_before"])
    return _grouped(rows, "bits", lambda r: f"{_kind(r)}, trained", _accuracy) | before


def pruned(book: Notebook) -> Curves:
    """Item 3 against bits, and the same levels without pruning."""
    rows = [r for r in book.of("3") if "rival" in r]
    theirs = _grouped(rows, "bits", lambda r: f"{r['levels']}, unpruned", _rival_accuracy)
    return _grouped(rows, "bits", lambda r: f"{r['levels']}, pruned", _accuracy) | theirs


def symmetric(book: Notebook) -> Curves:
    """Item 4 against bits, trained and before, and the source's levels, which are not symmetric."""
    rows = book.of("4")
    before = _grouped(
        rows, "bits", lambda r: f"{r['levels']}, untrained", lambda r: 100 * r["accuracy_before"]
    )
    source = [r for r in rows if r["rival"].startswith(SOURCE)]
    theirs = _grouped(source, "bits", lambda r: f"{SOURCE}, trained", _rival_accuracy)
    return _grouped(rows, "bits", lambda r: f"{r['levels']}, trained", _accuracy) | theirs | before


def by_stage(book: Notebook) -> Curves:
    """Item 5 against bits per weight, and as many bits everywhere where item 2 has them."""
    staged = _grouped(book.of("5"), "average_bits", lambda r: f"{r['levels']}, by stage", _accuracy)
    return staged | _everywhere(book, {r["levels"] for r in book.of("5")})


def searched(book: Notebook) -> Curves:
    """Item 6 against bits per weight, with the schemes by hand and as many bits everywhere."""
    rows = book.of("6")
    found = _grouped(rows, "average_bits", lambda r: f"{r['levels']}, searched", _accuracy)
    hand = _grouped(rows, "budget", lambda r: f"{r['levels']}, by hand", _rival_accuracy)
    return found | hand | _everywhere(book, {r["levels"] for r in rows})


def repaired(book: Notebook) -> Curves:
    """Item 7 against bits, a curve for each repair and layers."""
    return _grouped(book.of("7"), "bits", _kind, _accuracy)


def by_epoch(rows: Sequence[Row]) -> Curves:
    """The test accuracy after every epoch of the rows that were trained."""
    return {
        r["what"]: (list(range(1, r["epochs"] + 1)), [100 * a for a in r["accuracy_by_epoch"]])
        for r in rows
        if "accuracy_by_epoch" in r
    }


def _everywhere(book: Notebook, levels: set[str]) -> Curves:
    rows = [r for r in book.of("2") if r["levels"] in levels]
    return _grouped(rows, "average_bits", lambda r: f"{_kind(r)}, as many everywhere", _accuracy)


def _kind(row: Row) -> str:
    return f"{row['levels']}, {'all layers' if row['where'] == 'all' else 'blocks'}"


def _accuracy(row: Row) -> float:
    return float(100 * row["accuracy"])


def _rival_accuracy(row: Row) -> float:
    return float(100 * row["accuracy"] - row["rival_difference"])


def _grouped(rows: Sequence[Row], x: str, label: Callable[[Row], str], y: Callable[[Row], float]) -> Curves:
    """A curve per label, by rising x."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        curves.setdefault(label(row), []).append((row[x], y(row)))
    return {name: _points(points) for name, points in curves.items()}


def _points(pairs: Sequence[tuple[float, float]]) -> Points:
    ordered = sorted(pairs)
    return [x for x, _ in ordered], [y for _, y in ordered]
