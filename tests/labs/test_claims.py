"""Nineteen statements: each has a verdict, a reason, and its place on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report.reader import Reader

from pithnet.labs.claims.experiment import STATEMENTS, run
from pithnet.labs.options import LabOptions
from pithnet.run.progress import Quiet


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("claims")
    run(folder, LabOptions(quick=True), progress=Quiet())
    return folder


@pytest.fixture(scope="module")
def rows(out: Path) -> dict[int, dict[str, Any]]:
    return {row["id"]: row for row in json.loads((out / "results.json").read_text())["rows"]}


def test_every_statement_has_a_verdict_a_reason_and_numbers(rows: dict[int, dict[str, Any]]) -> None:
    assert list(rows) == list(range(1, 20))
    for row, statement in zip(rows.values(), STATEMENTS, strict=True):
        assert row["statement"] == statement.words
        assert row["verdict"] in ("true", "false", "depends")
        assert len(row["reason"]) > 200
        assert "{" not in row["reason"]
        assert row["numbers"]


def test_verdicts_that_hold_on_every_machine(rows: dict[int, dict[str, Any]]) -> None:
    sure = {3: "false", 4: "false", 5: "false", 6: "false", 7: "true", 9: "false", 11: "false", 13: "true"}
    sure |= {14: "false", 16: "true", 17: "true", 18: "depends", 19: "false"}
    assert {number: rows[number]["verdict"] for number in sure} == sure


def test_numbers_that_are_known_exactly(rows: dict[int, dict[str, Any]]) -> None:
    norms = rows[6]["numbers"]
    assert norms["sum_of_l2"] == pytest.approx(5.5)
    assert norms["library"] == pytest.approx(5.5)
    assert norms["l2_of_l1"] == pytest.approx((7**2 + 0.7**2) ** 0.5)
    assert norms["small_row"] == [0, 0]
    assert rows[7]["numbers"]["subgradient"] == [52, 196, 245, 244]
    assert rows[17]["numbers"]["equal"] == pytest.approx([1, 2, 5, 10, 20, 50, 100])
    assert set(rows[16]["numbers"]["zeros"]["hard threshold"]) == {390}
    by_symbols = {r["symbols"]: r["length"] for r in rows[13]["numbers"]["rows"]}
    assert by_symbols[3] == pytest.approx(5 / 3)
    assert by_symbols[2] == 1


def test_the_page_answers_all_without_javascript(out: Path, rows: dict[int, dict[str, Any]]) -> None:
    html = (out / "index.html").read_text()
    assert len(html.encode()) <= 600_000
    assert html.count("<svg ") == 19
    headings = Reader(html).all_of("h2")
    assert headings[1:20] == [f"{number}. {row['statement']}" for number, row in rows.items()]
    for row in rows.values():
        assert f"<strong>{row['verdict'].capitalize()}.</strong>" in html
    assert sorted(p.name for p in out.glob("*.png")) == sorted(f"{number}.png" for number in rows)


def test_one_statement_can_be_settled_alone(tmp_path: Path) -> None:
    said: list[str] = []
    progress = Quiet()
    progress.note = said.append  # type: ignore[method-assign]
    run(tmp_path / "one", LabOptions(data="cifar10", items="17"), progress=progress)
    assert said[0] == "lab claims runs on the bundled digits; --data and --data-root are not used"
    html = (tmp_path / "one" / "index.html").read_text()
    assert html.count("<svg ") == 1
    assert "This run has not measured item 3" in Reader(html).text
