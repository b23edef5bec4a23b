from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pithnet.errors import PithError
from pithnet.labs.notebook import Notebook, Row

FACTS: Row = {"lab": "pruning", "settings": {"epochs": 3, "rates": (0.1, 0.2)}, "command": "one"}


def measured_again() -> Row:
    raise AssertionError("a finished row was measured again")


def test_a_finished_row_is_on_disk_and_is_kept_by_resume(tmp_path: Path) -> None:
    first = Notebook(tmp_path, FACTS).row("2", "q = 0.5", lambda: {"accuracy": 0.75})
    again = Notebook(tmp_path, {**FACTS, "command": "two"}, resume=True)
    assert again.row("2", "q = 0.5", measured_again) == first
    assert again.row("3", "q = 0.5", lambda: {"accuracy": 0.5})["accuracy"] == 0.5
    written = json.loads((tmp_path / "results.json").read_text())
    assert [(r["item"], r["accuracy"]) for r in written["rows"]] == [("2", 0.75), ("3", 0.5)]
    assert written["command"] == "two"
    assert written["settings"] == {"epochs": 3, "rates": [0.1, 0.2]}
    assert [r["item"] for r in again.of("3")] == ["3"]


def test_a_row_that_fails_leaves_the_others(tmp_path: Path) -> None:
    with Notebook(tmp_path, FACTS) as book:
        book.row("1", "baseline", lambda: {"accuracy": 0.9})
        with pytest.raises(AssertionError):
            book.row("2", "broken", measured_again)
    assert [r["item"] for r in Notebook(tmp_path, FACTS, resume=True).rows] == ["1"]


def test_an_existing_lab_is_not_overwritten(tmp_path: Path) -> None:
    Notebook(tmp_path, FACTS).row("1", "baseline", dict)
    with pytest.raises(PithError, match="holds a lab already; add --resume, or choose another --out"):
        Notebook(tmp_path, FACTS)
    assert len(json.loads((tmp_path / "results.json").read_text())["rows"]) == 1


def test_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    Notebook(tmp_path, FACTS)
    with pytest.raises(PithError, match=r"measured with settings\.epochs 3, not 4; resume with the same"):
        Notebook(tmp_path, {**FACTS, "settings": {"epochs": 4}}, resume=True)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"rows": []}'])
def test_a_file_that_is_no_lab_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(PithError, match="is not a lab's result; choose another --out"):
        Notebook(tmp_path, FACTS, resume=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PithError, match=r"file/out cannot be created: .*choose another --out"):
        Notebook(tmp_path / "file" / "out", FACTS)


def test_states_are_kept_by_key(tmp_path: Path) -> None:
    with Notebook(tmp_path, FACTS) as book:
        assert book.load("percentile q = 0.5") is None
        book.save("percentile q = 0.5", {"weights": torch.arange(3), "history": [{"epoch": 1}]})
    found = Notebook(tmp_path, FACTS, resume=True).load("percentile q = 0.5")
    assert found is not None
    assert torch.equal(found["weights"], torch.arange(3))
    assert found["history"] == [{"epoch": 1}]
