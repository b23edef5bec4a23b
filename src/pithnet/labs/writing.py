"""The one writer of lab pages: a Markdown template with numbers filled in, its tables and figures between."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from pithnet.labs.columns import percent_rows
from pithnet.labs.experiment import Experiment
from pithnet.labs.notebook import Notebook, Row, flat
from pithnet.labs.phrases import brief, difference, listed, percent, rivalry, score, taught_by
from pithnet.report import Page, write_csv
from pithnet.report.figures import save_png

_HEADING = re.compile(r"^## +(?:(\w+)\. +)?(.+)$", re.M)
_BLOCK = re.compile(r"\n*\x02(\d+)\x03\n*")
_NESTED = ("layers", "structure", "parts", "positions")


def write_page(experiment: Experiment[Any], book: Notebook) -> None:
    """Writes index.html, a CSV file per table and a PNG per figure beside results.json.

    A section whose heading begins with an item's number is shown where the item has been measured; where it
    has not, the page says so. What stands before the first heading is the page's conclusion.

    Raises:
        PithError: A file cannot be written, or the template names a table or figure that is not there.
    """
    f = book.facts
    page = Page(experiment.title, _subtitle(f))
    writer = _Writer(experiment, book, page)
    for number, heading, text in sections(experiment):
        if heading:
            page.section(f"{number}. {heading}" if number else heading)
        if number and not book.of(number):
            page.text(
                f"This run has not measured item {number}. The same command with `--resume --items {number}` "
                "adds it to this page."
            )
        else:
            writer.write(text, number, lead=not heading)
    _write_facts(page, book)
    page.write(book.out / "index.html")


def _subtitle(f: Row) -> str:
    quick = ", quick settings" if f["quick"] else ""
    if "architecture" not in f:
        return f"seeds {', '.join(map(str, f['seeds']))}{quick}"
    images = f"accuracy on {f['test_images']:,} test images at the last epoch"
    return f"{f['architecture']} on {f['dataset']}, {images}, seed {f['seeds'][0]}{quick}"


def sections(experiment: Experiment[Any]) -> Iterator[tuple[str | None, str, str]]:
    """Yields (item's number or None, heading, text) of the template's sections; the first has no heading."""
    source = (resources.files(experiment.package) / "page.md").read_text(encoding="utf-8")
    marks = list(_HEADING.finditer(source))
    yield None, "", source[: marks[0].start()] if marks else source
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        yield mark[1], mark[2].strip(), source[mark.end() : after.start() if after else None]


def paragraph(experiment: Experiment[Any], number: str, names: Mapping[str, Any]) -> str:
    """Returns the words of an item's section, filled in with `names`, as plain text without its figures."""
    texts = {n: text for n, _, text in sections(experiment) if n}
    words = re.sub(r"\{\{ *(?:figure|table)\(.*?\) *\}\}", "", texts[number])
    return re.sub(r"\*\*.*?\*\* *|`", "", environment().from_string(words).render(names)).strip()


def names_of(experiment: Experiment[Any], book: Notebook) -> dict[str, Any]:
    """Returns what a template can use, tables and figures aside: rows, facts and numbers."""
    return {
        "facts": book.facts,
        "rows": book.of,
        "row": book.find,
        "all_rows": book.rows,
        "measured": lambda item: bool(book.of(item)),
        **experiment.numbers(book),
    }


def environment() -> Environment:
    """Makes Jinja's environment with the filters that say numbers; a name that is not there is an error."""
    found = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {
        "percent": percent,
        "difference": difference,
        "rivalry": rivalry,
        "taught_by": taught_by,
        "brief": brief,
        "score": score,
        "listed": listed,
        "count": "{:,}".format,
        "signed": "{:+.2f}".format,
        "round": lambda value, digits=2: f"{value:.{digits}f}",
    }
    return found


class _Writer:
    """Fills in the template's sections; tables and figures are made when a section names them."""

    def __init__(self, experiment: Experiment[Any], book: Notebook, page: Page) -> None:
        self.experiment, self.book, self.page = experiment, book, page
        self.blocks: list[Callable[[], None]] = []
        self.environment = environment()
        self.names = {
            **names_of(experiment, book),
            "table": partial(self._later, self._table),
            "figure": partial(self._later, self._figure),
        }

    def write(self, source: str, number: str | None, lead: bool) -> None:
        """Adds a section's paragraphs, tables and figures to the page in the order of the template."""
        rows = self.book.of(number) if number else []
        names = {**self.names, "the": rows[0]} if len(rows) == 1 else self.names
        text = self.environment.from_string(source).render(names).strip()
        if lead:
            self.page.lead(text)
            return
        for place, part in enumerate(_BLOCK.split(text)):
            if place % 2:
                self.blocks[int(part)]()
            elif part.strip():
                self.page.prose(part)

    def _later(self, make: Callable[..., None], *arguments: str) -> str:
        """A mark in the text, at whose place the block is made once the text around it is known."""
        self.blocks.append(partial(make, *arguments))
        return f"\n\n\x02{len(self.blocks) - 1}\x03\n\n"

    def _table(self, name: str, caption: str = "") -> None:
        item, table = self.experiment.table(name)
        rows = self.book.of(item.number) if table.rows is None else table.rows(self.book)
        columns = table.columns or {key: key for row in rows for key in row}
        shown = percent_rows(rows, columns)
        titles = [title for title in columns.values() if any(title in row for row in shown)]
        self.page.table(shown, titles, caption or table.caption)
        file = table.file or f"item{item.number}"
        write_csv(
            self.book.out / f"{file}.csv", [{k: v for k, v in r.items() if k not in _NESTED} for r in rows]
        )
        layers = [{"what": r["what"], **layer} for r in rows for layer in r.get("layers", ())]
        if layers:
            write_csv(self.book.out / f"{file}-layers.csv", layers)

    def _figure(self, name: str, caption: str = "") -> None:
        drawn = self.experiment.figure(name)(self.book)
        save_png(drawn, self.book.out / f"{name}.png")
        self.page.figure(drawn, caption)


def _write_facts(page: Page, book: Notebook) -> None:
    """Settings, hardware, seed and command."""
    f = book.facts
    page.section("How it was measured")
    for what in ("settings", "hardware"):
        values = {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in flat(f[what]).items()}
        page.table([{what: k, "value": v} for k, v in values.items()])
    seeds = f"seed{'s' * (len(f['seeds']) > 1)} {', '.join(map(str, f['seeds']))}"
    page.text(f"Measured by `{f['command']}` with {seeds}; all numbers are in `results.json`.")
