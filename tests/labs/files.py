"""What any lab must have left behind."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pithnet.labs.experiment import Experiment
from pithnet.labs.notebook import Notebook
from pithnet.labs.writing import environment, names_of, sections


class Answer(NamedTuple):
    """A question of a page and what it says to it, in the section of an item."""

    item: str
    question: str
    text: str


def read_results(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())


def items(results: dict[str, Any]) -> list[str]:
    """The items that have rows, in order."""
    return sorted({row["item"] for row in results["rows"]})


def rows(results: dict[str, Any], item: str) -> list[dict[str, Any]]:
    """The rows of an item, in order."""
    return [r for r in results["rows"] if r["item"] == item]


def named_rows(results: dict[str, Any], item: str) -> dict[str, dict[str, Any]]:
    """The rows of an item by name."""
    return {r["what"]: r for r in rows(results, item)}


def check_png(path: Path) -> None:
    """A drawing: large enough, and not one colour."""
    pixels = np.asarray(Image.open(path).convert("L"))
    assert min(pixels.shape) > 250, path
    assert pixels.std() > 5, path


def check_page(path: Path, answers: Sequence[tuple[str, str, str]], figures: bool = True) -> None:
    """One self-contained page of at most 600 kB: every answer, and drawings whose marks speak, if any."""
    page = path.read_text().replace("\xa0", " ")
    assert len(page.encode()) <= 600_000
    assert not figures or (page.count("<svg ") and page.count("<title>") > 1)
    assert 'src="http' not in page
    for _, question, answer in answers:
        assert question in page
        assert len(answer) > 80
        # Up to the first character that HTML writes otherwise, or that is marked up.
        plain = min([answer.find(c) for c in "'`<>&\"" if c in answer] or [len(answer)])
        assert answer[:plain] in page, question


def answers(experiment: Experiment[Any], book: Notebook) -> list[Answer]:
    """What the template's paragraphs that begin with a question in bold say, of the items that have rows."""
    names, found = names_of(experiment, book), []
    for number, _, text in sections(experiment):
        if number is not None and not book.of(number):
            continue
        for paragraph in text.split("\n\n"):
            if re.match(r"\s*(\{%.*?%\}\s*)*\*\*[^*]*\?\*\* ", paragraph, re.DOTALL):
                said = " ".join(environment().from_string(paragraph).render(names).split())
                if match := re.match(r"\*\*(.*?)\*\* (.*)", said):
                    found.append(Answer(number or "", match[1], match[2]))
    return found


def answer(experiment: Experiment[Any], book: Notebook, question: str) -> str:
    """What the template's paragraph with that question says; `book` may lack all other rows."""
    (text,) = (t for _, _, t in sections(experiment) if f"**{question}**" in t)
    (paragraph,) = (p for p in text.split("\n\n") if f"**{question}**" in p)
    said = environment().from_string(paragraph).render(names_of(experiment, book))
    return " ".join(said.split()).removeprefix(f"**{question}** ")


def check_sentences(text: str) -> None:
    """Nothing in the text is left blank: no sentence without a beginning, no list without a member."""
    assert re.match(r"[A-Za-z0-9`]", text), text
    assert not re.search(r"[.:;,(] ?[.:;,)]|  |\bNone\b|\bnan\b", text), text


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as f:
        return list(csv.DictReader(f))
