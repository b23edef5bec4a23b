"""What the tables of `lab deep-compression` show where it is not an item's rows as they are."""

from __future__ import annotations

from pithnet.labs.notebook import Notebook, Row


def sharings(book: Notebook) -> list[Row]:
    """The rows of item 1 that are networks."""
    return [r for r in book.of("1") if "accuracy" in r]


def layers(book: Notebook) -> list[Row]:
    """The rows of item 3 that are layers."""
    return [r for r in book.of("3") if "positions_chosen" in r]


def code_lengths(book: Notebook) -> list[Row]:
    """Every layer and all layers together, with the bytes of each position coder as columns of their own."""
    rows = [r for r in book.of("3") if "positions" in r]
    return [{**{k: v for k, v in r.items() if k != "positions"}, **r["positions"]} for r in rows]


def positions(book: Notebook) -> list[Row]:
    """Every layer and all: bytes of its positions by each coder, the least for them, and the choice."""
    rows = [r for r in book.of("3") if "positions" in r]
    coders = dict.fromkeys(name for r in rows for name in r["positions"])
    return [
        {"layer": r["what"]}
        | {name: r["positions"].get(name) for name in coders}
        | {"entropy of the mask": r["positions_entropy_bytes"], "chosen": r.get("positions_chosen")}
        for r in rows
    ]


def codes(book: Notebook) -> list[Row]:
    """The canonical code of the largest layer."""
    return next(list(r["codes"]) for r in book.of("3") if "codes" in r)


def empty_clusters(book: Notebook) -> list[Row]:
    """The rows of item 3 that treat empty clusters in one way or the other."""
    return [r for r in book.of("3") if "empty" in r]


def files(book: Notebook) -> list[Row]:
    """The rows of item 4 that are other files than model.pith."""
    others = book.of("4")[1:]
    return [{"file": r["what"], "bytes": r["bytes"], "times smaller": r.get("ratio")} for r in others]
