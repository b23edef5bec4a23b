"""The figures of `lab fixed-point`: accuracy against bits, bits per weight and epochs; levels and bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from pithnet.labs.fixed_point.schemes import SOURCE
from pithnet.labs.notebook import Notebook, Row
from pithnet.report.plots import Points, grouped_bars, histograms, lines

Curves = dict[str, Points]
_AXES = {"bits": "bits", "average_bits": "bits per weight, float layers at 32"}


def untrained(book: Notebook) -> Curves:
    """Item 1 against bits, a curve for each kind of levels and layers."""
    return _grouped(book.of("1"), "bits", _kind, _accuracy)


def trained(book: Notebook) -> Curves:
    """Item 2 against bits, trained and before."""
    rows = book.of("2")
    before = _grouped(rows, "bits", lambda r: f"{_kind(r)}, untrained", _accuracy_before)
    return _grouped(rows, "bits", lambda r: f"{_kind(r)}, trained", _accuracy) | before


def pruned(book: Notebook) -> Curves:
    """Item 3 against bits, and the same levels without pruning."""
    rows = [r for r in book.of("3") if "rival" in r]
    theirs = _grouped(rows, "bits", lambda r: f"{r['levels']}, unpruned", _rival_accuracy)
    return _grouped(rows, "bits", lambda r: f"{r['levels']}, pruned", _accuracy) | theirs


def symmetric(book: Notebook) -> Curves:
    """Item 4 against bits, trained and before, and the source's levels, which are not symmetric."""
    rows = book.of("4")
    before = _grouped(rows, "bits", lambda r: f"{r['levels']}, untrained", _accuracy_before)
    source = [r for r in rows if r["rival"].startswith(SOURCE)]
    theirs = _grouped(source, "bits", lambda r: f"{SOURCE}, trained", _rival_accuracy)
    return _grouped(rows, "bits", lambda r: f"{r['levels']}, trained", _accuracy) | theirs | before


def by_stage(book: Notebook) -> Curves:
    """Item 5 against bits per weight, and as many bits everywhere where item 2 has them."""
    staged = _grouped(book.of("5"), "average_bits", lambda r: f"{r['levels']}, by stage", _accuracy)
    return staged | _everywhere(book, "5")


def searched(book: Notebook) -> Curves:
    """Item 6 against bits per weight, with the schemes by hand and as many bits everywhere."""
    found = _grouped(book.of("6"), "average_bits", lambda r: f"{r['levels']}, searched", _accuracy)
    hand = _grouped(book.of("6"), "budget", lambda r: f"{r['levels']}, by hand", _rival_accuracy)
    return found | hand | _everywhere(book, "6")


def repaired(book: Notebook) -> Curves:
    """Item 7 against bits, a curve for each repair and layers."""
    return _grouped(book.of("7"), "bits", _kind, _accuracy)


def accuracies(curves: Callable[[Notebook], Curves], x: str, book: Notebook) -> Figure:
    """Curves of test accuracy against `x`: "bits" or "average_bits"."""
    return lines(curves(book), "", _AXES[x], "test accuracy, %")


def by_epoch(item: str, book: Notebook) -> Figure:
    """The test accuracy after every epoch of the item's rows that were trained."""
    rows = [r for r in book.of(item) if "accuracy_by_epoch" in r]
    curves = {
        r["what"]: (list(range(1, r["epochs"] + 1)), [100 * a for a in r["accuracy_by_epoch"]]) for r in rows
    }
    return lines(curves, "", "epoch", "test accuracy, %")


def bits_by_layer(book: Notebook) -> Figure:
    """The bits that the search gave to each layer."""
    rows = book.of("6")
    names = [layer["name"] for layer in rows[0]["layers"]]
    return grouped_bars(names, {r["what"]: [x["bits"] for x in r["layers"]] for r in rows}, "", "bits")


def levels(book: Notebook) -> Figure:
    """One layer's weights under several levels, from what item 1 has kept of them."""
    weights = book.load("levels") or {}
    return histograms(
        {what: w.flatten().numpy() for what, w in weights.items()}, "weight", "weights in a bin"
    )


def _everywhere(book: Notebook, item: str) -> Curves:
    """Item 2's rows of the levels that the other item has."""
    mine = {r["levels"] for r in book.of(item)}
    rows = [r for r in book.of("2") if r["levels"] in mine]
    return _grouped(rows, "average_bits", lambda r: f"{_kind(r)}, as many everywhere", _accuracy)


def _kind(row: Row) -> str:
    return f"{row['levels']}, {'all layers' if row['where'] == 'all' else 'blocks'}"


def _accuracy(row: Row) -> float:
    return float(100 * row["accuracy"])


def _accuracy_before(row: Row) -> float:
    return float(100 * row["accuracy_before"])


def _rival_accuracy(row: Row) -> float:
    return float(100 * row["accuracy"] - row["rival_difference"])


def _grouped(rows: Sequence[Row], x: str, label: Callable[[Row], str], y: Callable[[Row], float]) -> Curves:
    """A curve per label, by rising x."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        curves.setdefault(label(row), []).append((row[x], y(row)))
    ordered = {name: sorted(points) for name, points in curves.items()}
    return {name: ([x for x, _ in points], [y for _, y in points]) for name, points in ordered.items()}
