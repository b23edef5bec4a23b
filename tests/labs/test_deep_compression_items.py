"""Items of lab deep-compression alone, with another start, and with other teachers."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pithnet.errors import PithError
from pithnet.labs import LabOptions
from pithnet.labs.deep_compression import experiment as deep_compression
from pithnet.labs.deep_compression.experiment import EXPERIMENT
from pithnet.labs.notebook import Notebook
from pithnet.run.progress import Quiet

from .files import answers, check_page, check_png, check_sentences, items, named_rows, read_results

WEIGHTS = 56_224
TITLES = {
    "1": "weight sharing",
    "2": "centroid initialisation and codebook fine-tuning",
    "3": "Huffman codes and positions",
    "4": "the whole pipeline",
}


def float_network(lab: Path, folder: Path) -> Path:
    """A new lab's folder in which the baseline is trained already, and nothing else."""
    (folder / "state").mkdir(parents=True)
    shutil.copy(lab / "state" / "baseline.pt", folder / "state")
    return folder


@pytest.mark.parametrize("asked", ["1", "2", "3", "1,3"])
def test_items_without_the_pipeline_start_from_a_one_shot_network(
    deep_compression_lab: Path, tmp_path: Path, asked: str
) -> None:
    out = float_network(deep_compression_lab, tmp_path / "lab")
    deep_compression.run(out, LabOptions(quick=True, items=asked), progress=Quiet())
    results = read_results(out)
    there = asked.split(",")
    assert items(results) == ["0", *there]
    assert results["start"] == "one-shot"
    assert not (out / "state" / "pipeline").exists()
    assert not (out / "model.pith").exists()
    assert named_rows(results, "0")["pruned"]["zeros"] == WEIGHTS // 2
    facts = {k: v for k, v in results.items() if k != "rows"}
    said = answers(EXPERIMENT, Notebook(out, facts, resume=True))
    for answer in said:
        check_sentences(answer.text)
    page = (out / "index.html").read_text().replace("\xa0", " ")
    check_page(out / "index.html", said)
    assert "pruned in one shot: the 50.00 % of all weights that are smallest" in page
    assert all(f">{i}. {title[0].upper()}{title[1:]}" in page for i, title in TITLES.items())
    missing = re.findall(
        r"has not measured item (\d)\. The same command with <code>--resume --items \1<", page
    )
    assert missing == [item for item in TITLES if item not in there]
    for png in out.glob("*.png"):
        check_png(png)


def test_a_lab_that_goes_on_keeps_its_start(deep_compression_lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "lab"
    shutil.copytree(deep_compression_lab / "state", out / "state")
    deep_compression.run(out, LabOptions(quick=True, items="3"), progress=Quiet())
    before = read_results(out)
    deep_compression.run(out, LabOptions(quick=True, items="4", resume=True), progress=Quiet())
    after = read_results(out)
    assert after["start"] == before["start"] == "one-shot"
    assert items(after) == ["0", "3", "4"]
    assert after["rows"][: len(before["rows"])] == before["rows"]
    whole = named_rows(read_results(deep_compression_lab), "4")["whole pipeline"]
    assert named_rows(after, "4")["whole pipeline"]["bytes"] == whole["bytes"]


@pytest.mark.parametrize("teacher", ["none", "file"])
def test_the_teacher_is_said_and_teaches_the_recipe(
    deep_compression_lab: Path, tmp_path: Path, teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the recipe is carried out with, without carrying it out."""
    out = float_network(deep_compression_lab, tmp_path / "lab")
    state = torch.load(out / "state" / "baseline.pt", weights_only=True)["model"]
    torch.save({**state, "linear.bias": state["linear.bias"] + 1}, tmp_path / "other.pt")
    asked = "none" if teacher == "none" else f"digits-cnn:{tmp_path / 'other.pt'}"
    begun = []

    def stop(problem: Any, *rest: object, **options: object) -> None:
        begun.append((problem, problem.recipe))
        raise PithError("begun")

    monkeypatch.setattr("pithnet.labs.deep_compression.pipeline.carry_out", stop)
    with pytest.raises(PithError, match="begun"):
        deep_compression.run(out, LabOptions(quick=True, teacher=asked, items="4"), progress=Quiet())
    ((problem, recipe),) = begun
    results = read_results(out)
    assert results["teacher"]["kind"] == teacher
    weight = 0 if teacher == "none" else 0.9
    assert results["settings"]["recipe"]["distill"]["weight"] == recipe.distill.weight == weight
    if teacher == "none":
        assert problem.teacher is None
    else:
        assert results["teacher"]["file"] == "other.pt"
        assert torch.equal(problem.teacher.state_dict()["linear.bias"], state["linear.bias"] + 1)


def test_an_unknown_teacher_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(PithError, match="unknown teacher 'myself'"):
        deep_compression.run(tmp_path / "lab", LabOptions(quick=True, teacher="myself"), progress=Quiet())
    assert not (tmp_path / "lab").exists()


def test_items_start_from_a_pruned_network_in_a_file(
    deep_compression_lab: Path, pruning_lab: Path, tmp_path: Path
) -> None:
    state = torch.load(pruning_lab / "state" / "baseline.pt", weights_only=True)["model"]
    torch.save(state, tmp_path / "float.pt")
    options = LabOptions(
        quick=True,
        items="3",
        weights=tmp_path / "float.pt",
        pruned=pruning_lab / "state" / "iterative-global.pt",
    )
    deep_compression.run(tmp_path / "lab", options, progress=Quiet())
    results = read_results(tmp_path / "lab")
    assert results["start"] == "file"
    assert results["pruned"]["file"] == "iterative-global.pt"
    assert named_rows(results, "0")["pruned"]["zeros"] == round(0.7 * WEIGHTS)
    page = (tmp_path / "lab" / "index.html").read_text().replace("\xa0", " ")
    assert "start from the pruned network in the file <code>iterative-global.pt</code>" in page
    with pytest.raises(PithError, match="--pruned FILE needs --weights FILE"):
        deep_compression.run(tmp_path / "other", replace(options, weights=None), progress=Quiet())
