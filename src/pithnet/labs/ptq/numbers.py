"""What the template of `lab ptq` is filled in with, beside the rows themselves; its tables' rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pithnet.commands.bench import HELPS, where
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.ptq import source
from pithnet.labs.ptq.comparisons import PLAIN, comparisons
from pithnet.labs.ptq.schemes import LINEAR


def numbers(book: Notebook) -> dict[str, Any]:
    """Rows as the questions look at them, the source's numbers, and functions that say a row."""
    return {
        "pairs": pairs(book),
        "files": files(book),
        "file": lambda kind: next(r for r in files(book) if r["kind"] == kind),
        "sizes": sizes(book),
        "times_of": partial(times_of, book),
        "complete": complete(book),
        "group": lambda name: group(name, book),
        "layers": layers(book),
        "weight_errors": weight_errors,
        "name": name,
        "PLAIN": PLAIN,
        "LINEAR": LINEAR,
        **{key: value for key, value in vars(source).items() if key.isupper()},
    }


def pairs(book: Notebook) -> list[tuple[Row, Row]]:
    """Returns the rows of item 1 by share: pruned alike in each layer, and in one ranking."""
    named = {row["what"]: row for row in book.of("1")}
    return [(named[row["rival"]], row) for row in book.of("1") if row.get("rival") in named]


def files(book: Notebook) -> list[Row]:
    """Item 2: files of the network that were measured, with what the table of kernels says of them."""
    return [r | _kernels(r) for r in book.of("2") if "file" in r and "accuracy" in r]


def _kernels(row: Row) -> Row:
    """Counts and names as they read best in few columns."""
    kinds = ("convolutions", "additions", "linear_layers")
    names, same = row["float_names"], "{:,} of {:,}".format(*row["same_class"])
    more = f", ... ({len(names)})" if len(names) > 3 else ""
    counted = {f"{kind}_in_int8": f"{row[f'int8_{kind}']} of {row[kind]}" for kind in kinds}
    return counted | {"left_in_float": ", ".join(names[:3]) + more, "same_classes": same}


def times(book: Notebook) -> list[Row]:
    """Returns the rows of item 2 of files timed, by size of batch and number of threads."""
    return [r for r in book.of("2") if "ms" in r]


def times_of(book: Notebook, row: Row) -> Row | None:
    """Returns a file's times as shares of both references by cell, and the cells where it does not help."""
    mine = [t for t in times(book) if t["file"] == row["file"]]
    if not mine:
        return None
    return {
        "cells": [where(t["batch"], t["threads"]) for t in mine],
        "eager": [100 * t["share_of_eager"] for t in mine],
        "runtime": [100 * t["share_of_float32"] for t in mine],
        "slow": [where(t["batch"], t["threads"]) for t in mine if t["share_of_float32"] >= HELPS],
    }


def sizes(book: Notebook) -> list[Row]:
    """Returns the rows of item 2 of files of the network whose size alone counts."""
    return [r for r in book.of("2") if "note" in r]


def complete(book: Notebook) -> list[str]:
    """Returns the comparisons of item 3 whose schemes are all measured, and "sparsity" where that is."""
    known = {r["what"] for r in book.of("3")}
    found = [name for name, all_ in comparisons().items() if {e.scheme.what for e in all_} <= known]
    return found + (["sparsity"] if layers(book) else [])


def group(name: str, book: Notebook) -> list[Row]:
    """Returns the rows of item 3 of one comparison in its order, each with its rival there."""
    places = {e.scheme.what: i for i, e in reversed(list(enumerate(comparisons().get(name, ()))))}
    ordered = sorted(book.of("3"), key=lambda row: places.get(row["what"], 0))
    return [_with_rival(row, name) for row in ordered if name in row["groups"]]


def _with_rival(row: Row, name: str) -> Row:
    rivals: list[Row] = [r for r in row.get("rivals", ()) if r["group"] == name]
    kept = {k: v for k, v in row.items() if k not in ("groups", "rivals")}
    return kept | {k: v for r in rivals for k, v in r.items() if k != "group"}


def layers(book: Notebook) -> list[Row]:
    """Returns the float network's layers, as item 3 has them."""
    return [layer for row in group("sparsity", book) for layer in row["layers"]]


def weight_errors(rows: Sequence[Row], key: str) -> Mapping[Any, float]:
    """Returns the mean squared error of 4-bit weights over their squares, in percent, by a column's value."""
    found: dict[Any, list[float]] = {}
    for row in rows:
        if row["weights"] == 4:
            found.setdefault(row[key], []).append(100 * row["weight_error"])
    return {value: sum(errors) / len(errors) for value, errors in found.items()}


def name(row: Row) -> str:
    """Names a row in a comparison: '4 bits per tensor, activations 8 bits'."""
    return str(row["what"]).removeprefix("weights ").removesuffix(f" by {row['observer']}")
