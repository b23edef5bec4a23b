"""What a lab is: numbered items with measurements, tables and figures, and one page that tells them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure

from pithnet.errors import PithError
from pithnet.labs.notebook import Notebook, Row

LabT = TypeVar("LabT")
Draw = Callable[[Notebook], Figure]


@dataclass(frozen=True)
class Table:
    """Rows as a table of the page and as a CSV file.

    Attributes:
        columns: A heading for each key of the rows that is shown, in the order of the columns;
            every key as it is where there are none.
        caption: The sentence above the table, unless the template gives one.
        rows: What picks or makes the rows; all rows of the item where it is None.
        file: The name of the CSV file without its ending; "item" and the item's number where it is None.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    caption: str = ""
    rows: Callable[[Notebook], Sequence[Row]] | None = None
    file: str | None = None


def having(item: str, key: str) -> Callable[[Notebook], list[Row]]:
    """Returns what picks the rows of an item that have a key."""
    return lambda book: [row for row in book.of(item) if key in row]


def named(*figures: Draw) -> dict[str, Draw]:
    """Names figures by the functions that draw them, with dashes."""
    return {draw.__name__.replace("_", "-"): draw for draw in figures}


@dataclass(frozen=True)
class Item(Generic[LabT]):
    """One question of a lab.

    Attributes:
        number: What `--items` calls it, and what its rows hold under "item".
        title: The heading of its section.
        measure: Adds the item's rows to the lab's notebook; it measures what it needs of other items itself.
        tables: The tables that the page's template can name; the first one is the item's own.
        figures: The figures that the template can name; each is drawn from the notebook's rows alone.
    """

    number: str
    title: str
    measure: Callable[[LabT], None]
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: Mapping[str, Draw] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment(Generic[LabT]):
    """A lab: its items in the order of the page, and what its template is filled in with.

    Attributes:
        name: The lab's name on the command line.
        title: The page's title.
        package: The package that holds the template `page.md`.
        items: The questions.
        numbers: What the template needs beyond rows: names and values, computed from the notebook.
    """

    name: str
    title: str
    package: str
    items: tuple[Item[LabT], ...]
    numbers: Callable[[Notebook], Mapping[str, Any]] = lambda book: {}

    def measure(self, lab: LabT, wanted: Sequence[str]) -> None:
        """Measures the wanted items in the order of the page."""
        for item in self.items:
            if item.number in wanted:
                item.measure(lab)

    def table(self, name: str) -> tuple[Item[LabT], Table]:
        """Returns the table of that name and its item.

        Raises:
            PithError: No item has such a table.
        """
        return next(
            ((item, item.tables[name]) for item in self.items if name in item.tables), None
        ) or _missing("table", name, self)

    def figure(self, name: str) -> Draw:
        """Returns the figure of that name.

        Raises:
            PithError: No item has such a figure.
        """
        return next((item.figures[name] for item in self.items if name in item.figures), None) or _missing(
            "figure", name, self
        )


def _missing(what: str, name: str, experiment: Experiment[Any]) -> Any:
    raise PithError(f"lab {experiment.name} has no {what} {name!r}; its page names one that no item holds")
