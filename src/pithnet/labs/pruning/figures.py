"""The figures of `lab pruning`, from its rows and from the patterns of zeros that the lab keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.pruning.schedules import GLOBAL, PER_LAYER
from pithnet.labs.pruning.structures import NOTHING
from pithnet.report.figures import pattern as masks_pattern
from pithnet.report.plots import grouped_bars, heatmap, lines, named_points
from pithnet.surgery import weighted_layers

_PICTURED = 4  # layers in a picture of a pattern


def _percents(rows: Sequence[Row], key: str) -> list[float]:
    return [100 * row[key] for row in rows]


def widest_layers(book: Notebook) -> list[Row]:
    """Returns the layers pruned by the most standard deviations."""
    widest = max((r for r in book.of("2") if r["method"] == "std"), key=lambda r: r["value"])
    return list(widest["layers"])


def sparsity_per_layer(book: Notebook) -> Figure:
    """Draws a heatmap: the share of zeros of each layer, a pruning a row."""
    rows = book.of("2")
    shares = np.array([[layer["sparsity"] for layer in r["layers"]] for r in rows])
    names = [layer["name"] for layer in rows[0]["layers"]]
    return heatmap([r["what"] for r in rows], names, shares, scale="share of zeros in the layer")


def zeros_by_kurtosis(book: Notebook) -> Figure:
    """Draws points: each layer's zeros under the largest deviation, against the shape of its distribution."""
    layers = widest_layers(book)
    names, kurtoses = ([layer[key] for layer in layers] for key in ("name", "start_kurtosis"))
    x = "kurtosis of the layer's weights before pruning (3: normal)"
    return named_points(names, kurtoses, _percents(layers, "sparsity"), "", x, "zeros, %")


def accuracy_by_sparsity(book: Notebook) -> Figure:
    """Draws lines: accuracy against zeros, for both thresholds, before and after retraining."""
    series = {}
    for item, when in (("2", "one-shot"), ("3", "retrained")):
        for method in ("percentile", "std") if book.of(item) else ():
            rows = sorted((r for r in book.of(item) if r["method"] == method), key=lambda r: r["sparsity"])
            series[f"{method}, {when}"] = (_percents(rows, "sparsity"), _percents(rows, "accuracy"))
    return lines(series, "", "zeros, %", "test accuracy, %")


def accuracy_by_epoch(book: Notebook) -> Figure:
    """Draws lines: accuracy after every epoch of items 4 and 5."""
    rows = [r for r in (*book.of("4"), *book.of("5")) if "accuracy_by_epoch" in r]
    series = {r["what"]: (_epochs(r), [100 * a for a in r["accuracy_by_epoch"]]) for r in rows}
    return lines(series, "", "epoch", "test accuracy, %")


def zeros_by_epoch(book: Notebook) -> Figure:
    """Draws lines: exact zeros after every epoch of item 6."""
    series = {
        r["what"]: (_epochs(r), [100 * z / r["weights"] for z in r["zeros_by_epoch"]]) for r in book.of("6")
    }
    return lines(series, "", "epoch", "exact zeros, %")


def _epochs(row: Row) -> list[int]:
    return list(range(1, row["epochs"] + 1))


def accuracy_by_structure(book: Notebook) -> Figure:
    """Draws bars: accuracy of item 7 before and after training, a group for each structure."""
    rows = book.of("7")
    series = {"untuned": _percents(rows, "untuned"), "trained": _percents(rows, "accuracy")}
    return grouped_bars([r["what"] for r in rows], series, "", "test accuracy, %")


_COSTS = {"bytes": "file", "memory_bytes": "memory", "macs": "MACs", "ms": "time of an image"}
_COSTS |= {"ms_64": "time of 64 images"}


def cost_by_structure(book: Notebook) -> Figure:
    """Draws bars: what the networks of item 7 take, in percent of what their whole network takes."""
    rows, whole = book.of("7"), {r["network"]: r for r in book.of("7") if r["structure"] == NOTHING}
    smaller = [r for r in rows if r["structure"] != NOTHING]
    series = {
        said: [100 * r[key] / whole[r["network"]][key] for r in smaller]
        for key, said in _COSTS.items()
        if key in rows[0]
    }
    return grouped_bars([r["what"] for r in smaller], series, "", "% of the whole network's")


def zeros_per_layer(book: Notebook) -> Figure:
    """Draws bars: each layer's zeros, pruned by itself and in one ranking."""
    rows = [r for r in (book.find("4", PER_LAYER), book.find("5", GLOBAL)) if r]
    names = [layer["name"] for layer in rows[0]["layers"]]
    series = {r["what"]: _percents(r["layers"], "sparsity") for r in rows}
    return grouped_bars(names, series, "", "zeros, % of the layer")


def masks_of(model: nn.Module) -> dict[str, Any]:
    """Returns where a few layers, the first and the last among them, are not zero: bool tensors by name."""
    layers = list(weighted_layers(model))
    chosen = sorted({round(i) for i in np.linspace(0, len(layers) - 1, _PICTURED)})
    return {layers[i][0]: (layers[i][1].weight.detach() != 0).cpu() for i in chosen}


def pattern(key: str, book: Notebook) -> Figure:
    """Draws the masks that the lab keeps under `key`, a filter a row."""
    masks = book.load(key)
    assert masks is not None
    return masks_pattern({name: mask.numpy() for name, mask in masks.items()}, columns=2)
