"""What the template of `lab linear` is filled in with, beside the rows themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from pithnet.labs.linear import curves, design, recovery
from pithnet.labs.linear.points import EARLY, LATE, METHODS, exact_solutions, points
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import listed

OPTIMAL = 1e-12  # a loss or a distance below it counts as zero


def numbers(book: Notebook) -> dict[str, Any]:
    """Returns constants of the experiment, exact solutions, and functions that pick rows or say numbers."""
    return {
        "OPTIMAL": OPTIMAL,
        "EARLY": EARLY,
        "LATE": LATE,
        "HIGHEST_RATE": 2 / points("three").lipschitz,
        "NONZEROS": design.NONZEROS,
        "FEWER": recovery.FEWER,
        "MORE": recovery.MORE,
        "HOYER_STEPS": recovery.HOYER_STEPS,
        "HINDSIGHT": recovery.HINDSIGHT,
        "WITHIN": curves.WITHIN,
        "solutions": {data: [w.tolist() for w in exact_solutions(data)] for data in ("three", "two")},
        "of": partial(of_method, book),
        "the_row": lambda *asked: of_method(book, *asked)[0],
        "named": named,
        "vector": vector,
        "endings": lambda rows: listed(sorted({vector(r["weights"]) for r in rows})),
        "ratio": ratio,
        "error": error,
    }


def of_method(book: Notebook, item: str, method: str, parameter: float | None = None) -> list[Row]:
    """Returns the item's rows of a method; those with one parameter alone where it is given."""
    found = [r for r in book.of(item) if r["method"] == method]
    return [r for r in found if parameter is None or r["parameter"] == parameter]


def named(rows: Sequence[Row]) -> str:
    """Names each method, and its parameters where not all are there: 'gradient and trimmed (0.02, 0.04)'."""
    parts = []
    for name in dict.fromkeys(r["method"] for r in rows):
        found = [r["parameter"] for r in rows if r["method"] == name]
        whole = len(found) == sum(m.name == name for m in METHODS)
        parts.append(name if whole else f"{name} ({', '.join(f'{p:g}' for p in found)})")
    return listed(parts)


def vector(weights: Sequence[float]) -> str:
    """Says weights with four decimals, without zeros at the end: '(0, -2.95, 0, 0, 0.9583)'."""
    return f"({', '.join(f'{round(w, 4) + 0.0:.4f}'.rstrip('0').rstrip('.') for w in weights)})"


def ratio(worse: Row, better: Row) -> str:
    """Says the ratio of mean errors and the least of a design: '4.0 times (in every design at least 2.5)'."""
    least = min(a / b for a, b in zip(worse["l2_errors"], better["l2_errors"], strict=True))
    return f"{worse['l2_error'] / better['l2_error']:.1f} times (in every design at least {least:.1f})"


def error(row: Row) -> str:
    """Says the mean error and, where there are several designs, its standard deviation over them."""
    spread = "" if row["l2_error_sd"] is None else f" ± {row['l2_error_sd']:.3f}"
    return f"{row['l2_error']:.3f}{spread}"
