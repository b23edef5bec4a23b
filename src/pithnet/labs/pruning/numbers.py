"""What `lab pruning` says beyond its rows: functions of the notebook that the page's template calls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.pruning.regularized import MAGNITUDE
from pithnet.labs.pruning.schedules import GLOBAL, PER_LAYER
from pithnet.labs.pruning.sparsity import rank_correlation

_MEASURES = {"kurtosis": "start_kurtosis", "standard deviation": "start_std", "number of weights": "size"}


def thresholds(book: Notebook, item: str) -> Row:
    """Pairs of rows that are compared, and how often the first is ahead, and beyond its interval."""
    rows = [r for r in book.of(item) if "rival" in r]
    return {
        "pairs": [(r, book.find(item, r["rival"])) for r in rows],
        "ahead": sum(r["rival_difference"] > 0 for r in rows),
        "better": sum(r["rival_difference_low"] > 0 for r in rows),
        "worse": sum(r["rival_difference_high"] < 0 for r in rows),
    }


def correlations(layers: list[Row]) -> dict[str, float]:
    """Spearman's rank correlation of sparsity with the kurtosis, std and size of the start's layers."""
    shares = [r["sparsity"] for r in layers]
    return {
        name: rank_correlation([float(r[key]) for r in layers], shares) for name, key in _MEASURES.items()
    }


def largest_deviation(book: Notebook) -> Row:
    """The row of item 2 with the most standard deviations."""
    row: Row = max((r for r in book.of("2") if r["method"] == "std"), key=lambda r: r["value"])
    return row


def _layers(row: Row) -> Row:
    """The layers with the most and the fewest zeros, and what the shares of zeros go along with."""
    ordered, found = sorted(row["layers"], key=lambda r: r["sparsity"]), correlations(row["layers"])
    strongest = max(found, key=lambda name: abs(found[name]))
    said = {"most": ordered[:-4:-1], "fewest": ordered[:3], "count": len(ordered)}
    return {"row": row, **said, "correlations": found, "strongest": strongest}


def by_deviation(book: Notebook) -> Row:
    """Under the largest deviation; and the share that normal and Laplace's distribution would lose."""
    row = largest_deviation(book)
    s = row["value"]
    return _layers(row) | {"normal": math.erf(s / math.sqrt(2)), "laplace": 1 - math.exp(-s * math.sqrt(2))}


def by_ranking(book: Notebook) -> Row:
    """Under one ranking; `narrow` where the narrow layers are those that lose most."""
    row = book.find("5", GLOBAL)
    assert row is not None
    said = _layers(row)
    width, shape = (said["correlations"][name] for name in ("standard deviation", "kurtosis"))
    return said | {"narrow": width < 0 and abs(width) >= abs(shape)}


def structure(book: Notebook) -> Row:
    """Of the sparsest row of item 2: empty kernels, and how many times what chance would give."""
    row = max(book.of("2"), key=lambda r: r["sparsity"])
    s = row["structure"]
    expected = s["empty_kernels_if_scattered"]
    return {"row": row, **s, "times": s["empty_kernels"] / expected if expected else 0.0}


def retraining(book: Notebook) -> Row:
    """Epochs with exact zeros, the sparsest percentile, and the training with nothing pruned, if any."""
    rows = book.of("3")
    return {
        "trainings": len(rows),
        "epochs": sum(r["epochs"] for r in rows),
        "exact": sum(r["epochs"] for r in rows if r["masks_exact"]),
        "sparsest": max((r for r in rows if r["method"] == "percentile"), key=lambda r: r["sparsity"]),
        "control": next((r for r in rows if r["sparsity"] == 0), None),
    }


def schedules(book: Notebook) -> Row:
    """The rows of item 4: one-shot, iterative and the difference, None where it is not measured."""
    rows = {r["what"]: r for r in book.of("4")}
    minus, iterative = rows.pop("iterative minus one-shot", None), rows.pop(PER_LAYER)
    return {"minus": minus, "iterative": iterative, "one_shot": next(iter(rows.values()), None)}


def regularizers(book: Notebook) -> Row:
    """Magnitude, the methods from the best to the worst, and the better of the proximal L1s."""
    magnitude, *rest = (book.find("6", MAGNITUDE), *(r for r in book.of("6") if r["what"] != MAGNITUDE))
    assert magnitude is not None
    best = max((r for r in rest if r["what"].endswith("L1, proximal")), key=lambda r: float(r["accuracy"]))
    cut = round(book.facts["settings"]["penalties"]["until"] * best["epochs"]) - 1
    return {
        "magnitude": magnitude,
        "rows": rest,
        "ranked": sorted(rest, key=lambda r: -float(r["accuracy"])),
        "by_sgd": next(r for r in rest if r["what"] == "L1 in the loss, SGD"),
        "group": next(r for r in rest if r["kind"] == "group-lasso"),
        "best": best,
        "magnitude_at_the_mask": magnitude["accuracy_by_epoch"][cut],
    }


def numbers(book: Notebook) -> Mapping[str, Any]:
    """The functions above by their names, for the template: each is called only where its rows are there."""
    named = (by_deviation, by_ranking, structure, retraining, schedules, regularizers, thresholds)
    return {function.__name__: partial(function, book) for function in named}
