"""The one page writer: a template's sections, their tables and figures, and what was not measured."""

from __future__ import annotations

import csv
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from report.reader import Reader

from pithnet.errors import PithError
from pithnet.labs.catalogue import LABS
from pithnet.labs.experiment import Experiment, Item, Table, having
from pithnet.labs.notebook import Notebook
from pithnet.labs.writing import sections, write_page
from pithnet.report.plots import lines
from pithnet.run.progress import Quiet

FACTS = {
    "lab": "toy",
    "quick": True,
    "architecture": "digits-cnn",
    "dataset": "digits",
    "test_images": 500,
    "seeds": [3],
    "settings": {"rates": [1, 2]},
    "hardware": {"cores": 2},
    "command": "pithnet lab toy",
}
PAGE = """\
Zeros cost {{ row("1", "half").accuracy | percent }}.

## 1. How much?
Before the table.
{{ table("how-much") }}

**Why?** Because `w` is {{ largest }}.
{{ figure("curve", "Accuracy by zeros.") }}

## 2. And then?
Never rendered: {{ nobody }}.
"""


def measured(book: Notebook) -> None:
    for what, accuracy in (("none", 0.9), ("half", 0.85)):
        book.row("1", what, lambda a=accuracy: {"accuracy": a, "layers": [{"name": "conv", "zeros": 3}]})


def drawn(book: Notebook) -> object:
    return lines({"digits": ([0, 1], [r["accuracy"] for r in book.of("1")])})


TOY = Experiment(
    "toy",
    "A toy",
    "toy_lab",
    (
        Item(
            "1",
            "How much?",
            measured,
            {"how-much": Table({"what": "zeros", "accuracy": "accuracy %"}, "Two rows.")},
            {"curve": drawn},
        ),
        Item("2", "And then?", measured),
    ),
    lambda book: {"largest": max(r["accuracy"] for r in book.of("1"))},
)


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    package = tmp_path / "toy_lab"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "page.md").write_text(PAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_lab", raising=False)
    return Notebook(tmp_path / "out", FACTS, progress=Quiet())


def test_a_template_becomes_a_page_with_tables_figures_and_files(book: Notebook) -> None:
    TOY.measure(book, ["1"])
    write_page(TOY, book)
    html = (book.out / "index.html").read_text()
    read = Reader(html)
    assert read.all_of("h2") == ["1. How much?", "2. And then?", "How it was measured"]
    assert '<p class="lead">Zeros cost 85.00\N{NO-BREAK SPACE}%.</p>' in html
    assert "<strong>Why?</strong> Because <code>w</code> is 0.9." in html
    assert read.tables[0] == [["zeros", "accuracy %"], ["none", "90"], ["half", "85"]]
    order = [read.text.index(t) for t in ("Before the table", "Two rows", "Why?", "Accuracy by zeros")]
    assert order == sorted(order)
    assert html.count("<svg ") == 1
    assert (book.out / "curve.png").stat().st_size > 1000
    with open(book.out / "item1-layers.csv", newline="") as f:
        assert [row["what"] for row in csv.DictReader(f)] == ["none", "half"]


def test_a_section_of_an_item_that_was_not_measured_says_how_to_measure_it(book: Notebook) -> None:
    TOY.measure(book, ["1"])
    write_page(TOY, book)
    text = Reader((book.out / "index.html").read_text()).text
    assert "This run has not measured item 2. The same command with --resume --items 2 adds it" in text
    assert "Never rendered" not in text


def test_a_template_that_names_what_is_not_there_is_an_error(book: Notebook, tmp_path: Path) -> None:
    TOY.measure(book, ["1"])
    template = tmp_path / "toy_lab" / "page.md"
    template.write_text('## 1. How much?\n{{ figure("other") }}')
    with pytest.raises(PithError, match="lab toy has no figure 'other'"):
        write_page(TOY, book)
    template.write_text("## 1. How much?\n{{ nobody }}")
    with pytest.raises(UndefinedError, match="'nobody' is undefined"):
        write_page(TOY, book)


def test_columns_keep_their_order_and_the_template_may_give_the_caption(
    book: Notebook, tmp_path: Path
) -> None:
    book.row("1", "first", lambda: {"accuracy": 0.5})
    book.row("1", "second", lambda: {"gain": 3, "accuracy": 0.75})
    columns = {"what": "zeros", "gain": "gain", "loss": "loss", "accuracy": "accuracy %"}
    tables = {"ordered": Table(columns, "From the item."), "as-it-is": Table(rows=having("1", "gain"))}
    (tmp_path / "toy_lab" / "page.md").write_text(
        '## 1. How much?\n{{ table("ordered", "From the template.") }}\n{{ table("as-it-is") }}'
    )
    write_page(replace(TOY, items=(Item("1", "How much?", measured, tables),)), book)
    read = Reader((book.out / "index.html").read_text())
    assert read.tables[0] == [["zeros", "gain", "accuracy %"], ["first", "–", "50"], ["second", "3", "75"]]
    assert read.tables[1][0] == ["item", "what", "gain", "accuracy"]
    assert len(read.tables[1]) == 2
    assert "From the template." in read.text
    assert "From the item." not in read.text


# Lab linear gives its sections no numbers, and lab ptq spreads an item over several.
@pytest.mark.parametrize("lab", [name for name in LABS if name not in ("linear", "ptq")])
def test_an_item_s_section_has_its_title(lab: str) -> None:
    experiment = importlib.import_module(LABS[lab]).EXPERIMENT
    headings = [(number, heading) for number, heading, _ in sections(experiment) if number is not None]
    assert headings == [(item.number, item.title) for item in experiment.items]
