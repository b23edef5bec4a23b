"""One self-contained HTML page: no file or address beside it is needed to read it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup
from matplotlib.figure import Figure

from pithnet.atomic import write_atomic
from pithnet.report.tables import Row, table_columns
from pithnet.report.templating import render
from pithnet.report.vector import inline_svg


class Page:
    """Blocks in the order they are added, then `write`.

    Texts are plain text in which **bold** and `code` are marked up; everything else in them is escaped.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title, self.subtitle = title, subtitle
        self._lead = ""
        self._blocks: list[Markup] = []
        self._sections: dict[str, str] = {}

    def section(self, heading: str) -> None:
        """Starts a section; pages of four and more get a list of them at the top."""
        anchor = base = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"
        while anchor in self._sections:
            anchor = f"{base}-{len(self._sections)}"
        self._sections[anchor] = heading
        self._blocks.append(Markup('<h2 id="{}">{}</h2>').format(anchor, heading))

    def lead(self, paragraph: str) -> None:
        """Puts the page's conclusion, in larger type, above everything else."""
        self._lead = paragraph

    def text(self, paragraph: str) -> None:
        """Adds a paragraph."""
        self._add("text.html", text=paragraph)

    def facts(self, facts: Sequence[tuple[str, str, str]]) -> None:
        """Adds the few numbers that matter, large: (number, what it is, a note)."""
        self._add("facts.html", facts=facts)

    def table(
        self,
        rows: Sequence[Row],
        columns: Sequence[str] | None = None,
        caption: str = "",
        folded: str = "",
        total: Row | None = None,
    ) -> None:
        """Adds a table of dictionaries, sorted by a click on a column's head.

        Args:
            rows: A dictionary for each row.
            columns: Which keys, in which order; all of them in the order of appearance where it is None.
            caption: Stands above it.
            folded: Where given, the line that opens the table.
            total: A last row that stays where it is.

        Raises:
            PithError: Where no row has one of the columns.
        """
        shown = table_columns([*rows, *([total] if total else [])], columns)
        self._add(
            "table.html",
            columns=shown,
            count=len(rows),
            caption=caption,
            folded=folded,
            total=total is not None,
        )

    def code(self, text: str, caption: str = "") -> None:
        """Adds text as it is, in a box of its own."""
        self._add("code.html", text=text, caption=caption)

    def prose(self, markdown: str) -> None:
        """Adds paragraphs, lists and tables in Markdown; HTML in it is shown as text."""
        self._add("prose.html", html=Markup(_markdown().render(_with_hard_spaces(markdown))))

    def figure(self, fig: Figure, caption: str = "", title: str = "", folded: str = "") -> None:
        """Adds a figure as a drawing that is whole without JavaScript.

        Args:
            fig: A figure of `report.figures` or `report.plots`.
            caption: Stands below it.
            title: What the picture shows, for who cannot see it; its caption where it is empty.
            folded: Where given, the line that opens the figure.
        """
        self._add("plot.html", drawings=[inline_svg(fig, title or caption)], caption=caption, folded=folded)

    def figures(self, figs: Mapping[str, Figure], caption: str) -> None:
        """Adds figures side by side where there is room, under one caption; each by what it shows."""
        drawn = [inline_svg(fig, title) for title, fig in figs.items()]
        self._add("plot.html", drawings=drawn, caption=caption, folded="")

    def render(self) -> str:
        """Returns the page's HTML."""
        return render(
            "page.html",
            title=self.title,
            subtitle=self.subtitle,
            lead=self._lead,
            sections=self._sections if len(self._sections) >= 4 else {},
            blocks=self._blocks,
        )

    def write(self, path: str | Path) -> Path:
        """Writes the page, whole or not at all, and returns where it is.

        Raises:
            PithError: Where it cannot be written.
        """
        write_atomic(Path(path), self.render().encode())
        return Path(path)

    def _add(self, template: str, **context: Any) -> None:
        self._blocks.append(render(template, **context))


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _with_hard_spaces(text: str) -> str:
    """With a number and its % sign kept on one line."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)
