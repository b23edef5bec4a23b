"""The demo, and that it can be run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import pithnet as pn
from pithnet.commands.demo import Demo, demo

from .conftest import Run


def test_what_readme_promises(run: Run, tmp_path: Path) -> None:
    code, out, err = run("demo", "--out", tmp_path / "demo")
    assert code == 0, err
    results = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert results["ratio"] >= 20
    assert results["before"]["accuracy"] >= 0.98
    assert results["difference"]["points"] > -1
    assert "bit for bit, on 500 test images" in out
    assert (tmp_path / "demo" / "report.html").stat().st_size > 1000
    assert pn.load(tmp_path / "demo" / "model.pith").training is False


def test_again_in_the_same_folder(tmp_path: Path, recipe: Path) -> None:
    threads = torch.get_num_threads()
    sizes = Demo(epochs=1, recipe=str(recipe))
    first = demo(tmp_path, sizes).result.data
    (tmp_path / "float" / "model.pt").write_bytes(b"old")
    assert demo(tmp_path, sizes).result.data == first
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("content", ['{"made_by": "me"}', "[1]", "no json"])
def test_another_programs_demo_json_is_no_earlier_demo(content: str, tmp_path: Path) -> None:
    for name in ("cache", "float"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text(name)
    (tmp_path / "results.json").write_text("mine")
    (tmp_path / "demo.json").write_text(content)
    with pytest.raises(pn.PithError, match=f"{tmp_path} holds a demo.json that pithnet demo did not write"):
        demo(tmp_path)
    assert (tmp_path / "demo.json").read_text() == content
    assert (tmp_path / "results.json").read_text() == "mine"
    assert all((tmp_path / name / "mine").exists() for name in ("cache", "float"))


def test_never_over_another_run(tmp_path: Path, trained: Path) -> None:
    kept = (trained / "results.json").read_bytes()
    with pytest.raises(pn.PithError, match="and no demo"):
        demo(trained)
    assert (trained / "results.json").read_bytes() == kept
