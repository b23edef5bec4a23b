"""The figures of `lab fixed-point`: accuracy against bits, bits per weight and epochs; levels and bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from pithnet.labs.fixed_point.schemes import OURS, SYMMETRIC
from pithnet.labs.notebook import Notebook, Row
from pithnet.report.plots import grouped_bars, histograms, lines

_AXES = {"bits": "bits", "average_bits": "bits per weight, float layers at 32"}
_ACCURACY = "test accuracy, %"


class Curves(NamedTuple):
    """Curves of an item's rows: one for each label, filled in with the row and `layers`.

    y: "accuracy", "accuracy_before", or "rival" for the accuracy of the row that it is beside. x: the column
    against which they are drawn, the figure's where it is None. levels: of the rows; all where it is None.
    """

    item: str
    label: str
    y: str = "accuracy"
    x: str | None = None
    levels: str | None = None

    def add(self, book: Notebook, x: str, points: dict[str, list[tuple[float, float]]]) -> None:
        """Adds the points of the rows, by label."""
        for row in book.of(self.item):
            if "levels" in row and self.levels in (None, row["levels"]):
                layers = "all layers" if row["where"] == "all" else "blocks"
                found = (row[self.x or x], self._height(row))
                points.setdefault(self.label.format(**row | {"layers": layers}), []).append(found)

    def _height(self, row: Row) -> float:
        if self.y == "rival":
            return float(100 * row["accuracy"] - row["rival_difference"])
        return float(100 * row[self.y])


_EVERYWHERE = "{levels}, {layers}, as many everywhere"
# What each figure draws.
CURVES: dict[str, Sequence[Curves]] = {
    "accuracy-by-bits": [Curves("1", "{levels}, {layers}")],
    "trained-by-bits": [
        Curves("2", "{levels}, {layers}, trained"),
        Curves("2", "{levels}, {layers}, untrained", "accuracy_before"),
    ],
    "pruned-by-bits": [Curves("3", "{levels}, pruned"), Curves("3", "{levels}, unpruned", "rival")],
    "symmetric-by-bits": [
        Curves("4", "{levels}, trained"),
        Curves("4", "source, trained", "rival", levels=SYMMETRIC),
        Curves("4", "{levels}, untrained", "accuracy_before"),
    ],
    "accuracy-by-size": [Curves("5", "{levels}, by stage"), Curves("2", _EVERYWHERE)],
    "searched-by-size": [
        Curves("6", "{levels}, searched"),
        Curves("6", "{levels}, by hand", "rival", "budget"),
        Curves("2", _EVERYWHERE, levels=OURS),
    ],
    "repaired-by-bits": [Curves("7", "{levels}, {layers}")],
}


def accuracies(name: str, book: Notebook) -> Figure:
    """Draws the curves of that name, each by rising bits or bits per weight."""
    x = "bits" if name.endswith("bits") else "average_bits"
    points: dict[str, list[tuple[float, float]]] = {}
    for curves in CURVES[name]:
        curves.add(book, x, points)
    series = {label: tuple(zip(*sorted(found), strict=True)) for label, found in points.items()}
    return lines({label: (xs, ys) for label, (xs, ys) in series.items()}, "", _AXES[x], _ACCURACY)


def by_epoch(item: str, book: Notebook) -> Figure:
    """Draws the test accuracy after every epoch of the item's rows that were trained."""
    trained = {r["what"]: r["accuracy_by_epoch"] for r in book.of(item) if "accuracy_by_epoch" in r}
    series = {what: (list(range(1, len(a) + 1)), [100 * v for v in a]) for what, a in trained.items()}
    return lines(series, "", "epoch", _ACCURACY)


def bits_by_layer(book: Notebook) -> Figure:
    """Draws the bits that the search gave to each layer."""
    rows = book.of("6")
    names = [layer["name"] for layer in rows[0]["layers"]]
    return grouped_bars(names, {r["what"]: [x["bits"] for x in r["layers"]] for r in rows}, "", "bits")


def levels(book: Notebook) -> Figure:
    """Draws one layer's weights under several levels, from what item 1 has kept of them."""
    weights = book.load("levels") or {}
    return histograms(
        {what: w.flatten().numpy() for what, w in weights.items()}, "weight", "weights in a bin"
    )
