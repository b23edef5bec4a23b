"""Any choice of items makes a whole page: what they need is measured, what is missing is said by name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pithnet.labs import LabOptions
from pithnet.labs.notebook import Notebook
from pithnet.labs.pruning import experiment as pruning
from pithnet.labs.pruning.experiment import EXPERIMENT
from pithnet.run.progress import Quiet

from .files import answers, check_page, check_png, check_sentences, items, read_results

SECTIONS = {
    "1": "1. Baseline",
    "2": "2. One-shot",
    "3": "3. Retrained",
    "4": "4. Iterative",
    "5": "5. One ranking",
    "6": "6. Regularised",
    "7": "7. Weights, kernels",
}


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("1", "1"),
        ("2", "12"),
        ("3", "123"),
        ("4", "14"),
        ("5", "145"),
        ("6", "16"),
        ("7", "17"),
        ("1,2", "12"),
        ("2,5", "1245"),
    ],
)
def test_an_item_measures_what_it_needs_and_the_page_names_the_rest(
    pruning_lab: Path, tmp_path: Path, asked: str, there: str
) -> None:
    out = tmp_path / "lab"
    shutil.copytree(pruning_lab / "state", out / "state")
    pruning.run(out, LabOptions(quick=True, items=asked), progress=Quiet())
    results = read_results(out)
    assert items(results) == list(there)
    facts = {k: v for k, v in results.items() if k != "rows"}
    said = answers(EXPERIMENT, Notebook(out, facts, resume=True))
    for answer in said:
        check_sentences(answer.text)
    page = (out / "index.html").read_text().replace("\xa0", " ")
    check_page(out / "index.html", said, figures=asked != "1")
    missing = re.findall(
        r"This run has not measured item (\d)\. The same command with "
        r"<code>--resume --items \1</code>",
        page,
    )
    assert missing == [item for item in SECTIONS if item not in there]
    assert all(f">{title}" in page for title in SECTIONS.values())
    # Item 5 needs one row of item 4; the page says what the others would take.
    partly = "adds the one-shot training and the comparison" in page
    assert partly == ("4" in there and "4" not in asked)
    assert ("One-shot or iterative?" in page) == ("4" in asked)
    for png in out.glob("*.png"):
        check_png(png)


def test_a_complete_lab_says_nothing_of_what_is_missing(pruning_lab: Path) -> None:
    assert "has not measured" not in (pruning_lab / "index.html").read_text()


def test_items_add_up_to_the_whole(pruning_lab: Path, tmp_path: Path) -> None:
    # Item 7 shares nothing with the others but the baseline.
    whole = [row for row in read_results(pruning_lab)["rows"] if row["item"] != "7"]
    out = tmp_path / "lab"
    shutil.copytree(pruning_lab / "state", out / "state")
    for asked in ("5", "3", "1,2,4,6"):
        pruning.run(out, LabOptions(quick=True, items=asked, resume=True), progress=Quiet())
    kept = ("accuracy", "zeros", "difference")
    found, expected = (
        {(r["item"], r["what"]): [r.get(k) for k in kept] for r in measured}
        for measured in (read_results(out)["rows"], whole)
    )
    assert found == expected
    page = (out / "index.html").read_text()
    assert page.count("has not measured") == page.count("has not measured item 7") == 1


@pytest.mark.parametrize(("teacher", "share"), [(None, 0.0), ("self", 0.9)])
def test_a_teacher_teaches_all_but_the_baseline(
    pruning_lab: Path, tmp_path: Path, teacher: str | None, share: float
) -> None:
    (tmp_path / "state").mkdir()
    shutil.copy(pruning_lab / "state" / "baseline.pt", tmp_path / "state")
    pruning.run(tmp_path, LabOptions(quick=True, items="1", teacher=teacher), progress=Quiet())
    results = read_results(tmp_path)
    assert results["teacher"]["kind"] == (teacher or "none")
    settings = results["settings"]
    assert settings["baseline"]["objective"]["distill"] == 0
    assert settings["retrain"]["objective"]["distill"] == share
    assert settings["penalties"]["training"]["objective"]["distill"] == share
    said = "taught by the answers of the float network" if teacher else "from the labels alone"
    assert said in (tmp_path / "index.html").read_text().replace("\xa0", " ")
