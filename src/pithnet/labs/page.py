"""What the pages of all labs have in common: the head, an item's tables, and what was measured on what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pithnet.labs.notebook import Notebook, Row
from pithnet.report import Page, write_csv

ACCURACY = {"accuracy": "accuracy %", "low": "from %", "high": "to %"}
_SHARES = ("accuracy", "sparsity", "low", "high", "accuracy_before", "best_over_test_epochs", "agreement")


def open_page(book: Notebook, title: str) -> Page:
    """The lab's page with its head."""
    f = book.facts
    return Page(
        title,
        f"{f['architecture']} on {f['dataset']}, accuracy on {f['test_images']:,} test images at the last "
        "epoch, "
        f"seed {f['seeds'][0]}" + (", quick settings" if f["quick"] else ""),
    )


def percent_rows(rows: Sequence[Row], columns: Mapping[str, str]) -> list[Row]:
    """Rows as a table shows them: of `columns`, renamed; shares (0 to 1) in percent."""
    return [
        {
            title: round(100 * row[key], 2) if key in _SHARES else row[key]
            for key, title in columns.items()
            if key in row
        }
        for row in rows
    ]


def write_tables(
    book: Notebook,
    item: str,
    columns: Mapping[str, str],
    page: Page,
    caption: str,
    rows: Sequence[Row] | None = None,
) -> None:
    """The item's table on the page and as CSV, and a second CSV with a row per layer where there are any.

    rows: of the item, all of them where None.
    """
    rows = book.of(item) if rows is None else rows
    page.table(percent_rows(rows, columns), caption=caption)
    flat = [{k: v for k, v in r.items() if k not in ("layers", "structure", "parts")} for r in rows]
    write_csv(book.out / f"item{item}.csv", flat)
    layers = [{"what": r["what"], **layer} for r in rows for layer in r.get("layers", ())]
    if layers:
        write_csv(book.out / f"item{item}-layers.csv", layers)


def write_facts(book: Notebook, page: Page) -> None:
    """Settings, hardware, seed and command."""
    page.section("Settings")
    f = book.facts
    for what in ("settings", "hardware"):
        page.table([{what: k, "value": str(v)} for k, v in _flat(f[what], "").items()])
    page.text(f"Measured by `{f['command']}` with seed {f['seeds'][0]}; all numbers are in `results.json`.")


def _flat(content: Any, name: str) -> dict[str, Any]:
    """Nested mappings and lists of mappings as one, under dotted names; what is None is left out."""
    if isinstance(content, list) and any(isinstance(v, dict) for v in content):
        content = {str(i): v for i, v in enumerate(content, 1)}
    if not isinstance(content, dict):
        shown = ", ".join(map(str, content)) if isinstance(content, list) else content
        return {} if content in (None, []) else {name: shown}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{name}.{key}" if name else key)
    return flat
