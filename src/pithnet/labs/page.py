"""What the pages of all labs have in common: the head, an item's tables, and what was measured on what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pithnet.labs.columns import percent_rows
from pithnet.labs.notebook import Notebook, Row, flat
from pithnet.labs.phrases import SETTINGS, Answer
from pithnet.report import Page, write_csv


def open_page(book: Notebook, title: str) -> Page:
    """The lab's page with its head."""
    f = book.facts
    return Page(
        title,
        f"{f['architecture']} on {f['dataset']}, accuracy on {f['test_images']:,} test images at the last "
        "epoch, "
        f"seed {f['seeds'][0]}" + (", quick settings" if f["quick"] else ""),
    )


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


def write_answers(page: Page, answers: Sequence[Answer], item: str) -> None:
    """The answers that belong to an item, under its numbers."""
    for answer in answers:
        if answer.item == item:
            page.text(f"**{answer.question}** {answer.text}")


def write_left_out(book: Notebook, page: Page, titles: Mapping[str, str]) -> None:
    """Which of the lab's items have not been measured; nothing where all have.

    titles: of all items by their numbers, such as "2. Trained".
    """
    missing = [item for item in titles if not book.of(item)]
    if missing:
        named = "; ".join(titles[item] for item in missing)
        page.section("Not measured")
        page.text(
            f"These items have not been measured in this run: {named}. The same command with `--resume "
            f"--items {','.join(missing)}` adds them."
        )


def write_unmeasured(
    book: Notebook, page: Page, titles: Mapping[str, str], planned: Mapping[str, Sequence[str]]
) -> None:
    """Says by name what is not on the page, if anything, and how it gets there.

    titles: what each item is, such as "retrained"; planned: the names of an item's rows when it is complete.
    """
    left = {item: [w for w in names if book.find(item, w) is None] for item, names in planned.items()}
    left = {item: names for item, names in left.items() if names}
    if not left:
        return
    parts = [
        f"of item {item} ({titles[item]}) only what another item needs, without {'; '.join(names)}"
        if book.of(item)
        else f"item {item} ({titles[item]})"
        for item, names in left.items()
    ]
    page.text(
        f"**Not measured here:** {'; '.join(parts)}. The same command with `--resume --items "
        f"{','.join(left)}` adds it to this page."
    )


def write_facts(book: Notebook, page: Page, answers: Sequence[Answer]) -> None:
    """Settings, hardware, seed and command."""
    page.section("Settings")
    write_answers(page, answers, SETTINGS)
    f = book.facts
    for what in ("settings", "hardware"):
        page.table([{what: k, "value": str(v)} for k, v in flat(f[what]).items()])
    page.text(f"Measured by `{f['command']}` with seed {f['seeds'][0]}; all numbers are in `results.json`.")
