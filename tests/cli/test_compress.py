"""`pithnet compress` and what reads its files: evaluate, inspect, unpack, report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import pithnet as pn
from pithnet.learn import Trainer

from .conftest import Run


def test_run_folder(compressed: Path) -> None:
    results = json.loads((compressed / "results.json").read_text())
    size = (compressed / "model.pith").stat().st_size
    assert results["bytes"] == size
    assert results["ratio"] == pytest.approx(227_496 / size)
    assert set(results["rivals"]) == {"float16 + zstd", "int8 + zstd", "pruned float16 + zstd"}
    assert results["formula_ratio"] > results["ratio"]
    assert results["before"]["n"] == results["after"]["n"] == 500
    assert (results["epochs"], results["seed"], results["dataset"]) == (3, 0, "digits")
    assert results["hardware"]["cores"] >= 1
    assert results["command"].startswith("pithnet compress --model digits-cnn --")
    assert pn.load_recipe(compressed / "recipe.yaml").name == "tiny"
    assert "<html" in (compressed / "report.html").read_text()


def test_plan_and_file_have_the_same_layers(compressed: Path) -> None:
    plan = json.loads((compressed / "plan.json").read_text())
    results = json.loads((compressed / "results.json").read_text())
    stored = {t["name"]: t for t in results["tensors"]}
    assert [row["name"] for row in plan["layers"]] == ["conv1", "conv2", "conv3", "linear"]
    for row in plan["layers"]:
        assert row["shape"] == stored[f"{row['name']}.weight"]["shape"]
        assert row["levels"] == 8
    total = sum(row["zeros"] for row in plan["layers"])
    assert total == round(0.6 * sum(row["weights"] for row in plan["layers"]))
    assert total == sum(stored[f"{row['name']}.weight"]["zeros"] for row in plan["layers"])
    assert plan["bytes"] == pytest.approx(results["bytes"], rel=0.1)


def test_what_is_printed(run: Run, trained: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: untrained\nsteps:\n  - prune: {sparsity: 0.5}\n  - share: {bits: 4}\n")
    options = (
        "--model",
        "digits-cnn",
        "--weights",
        trained / "model.pt",
        "--data",
        "digits",
        "--recipe",
        recipe,
    )
    code, out, _ = run("compress", *options, "--out", tmp_path / "plain")
    assert code == 0
    for word in ("Plan", "conv3", "model.pith", "int8 + zstd", "95 % interval", "formula", "report.html"):
        assert word in out
    assert out.index("Plan") < out.index("model.pith")
    code, out, _ = run("compress", *options, "--out", tmp_path / "json", "--json")
    assert code == 0
    assert json.loads(out)["recipe"] == "untrained"
    first, second = ((tmp_path / name / "model.pith").read_bytes() for name in ("plain", "json"))
    assert first == second


def test_stopped_and_resumed_gives_the_same_bytes(
    run: Run, trained: Path, compressed: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "stopped", Trainer._epoch
    cache = shutil.copytree(compressed / "cache", tmp_path / "cache")
    written = {p.name: p.stat().st_mtime_ns for p in cache.iterdir()}
    options = (
        "--model",
        "digits-cnn",
        "--weights",
        trained / "model.pt",
        "--data",
        "digits",
    )

    def stop_in_the_second(self: Trainer, steps: int) -> object:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return whole(self, steps)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", stop_in_the_second)
        code, _, err = run("compress", *options, "--recipe", recipe, "--cache", cache, "--out", out)
    assert code == 130
    assert f"pithnet compress --resume {out}" in err
    with open(out / "events.jsonl", "a") as log:
        log.write('{"event": "epoch", "cut')  # as kill -9 leaves it
    assert run("compress", "--resume", out)[0] == 0
    assert (out / "model.pith").read_bytes() == (compressed / "model.pith").read_bytes()
    assert _log(out) == _log(compressed)
    # the teacher was not asked again
    assert {p.name: p.stat().st_mtime_ns for p in cache.iterdir()} == written


def _log(folder: Path) -> list[dict[str, object]]:
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [{k: v for k, v in e.items() if k != "seconds"} for e in events]


def test_evaluate_a_pith(run: Run, compressed: Path) -> None:
    results = json.loads((compressed / "results.json").read_text())
    code, out, _ = run("evaluate", compressed / "model.pith", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["accuracy"], found["n"]) == (results["after"]["accuracy"], 500)
    assert (found["bytes"], found["architecture"], found["dataset"]) == (
        results["bytes"],
        "digits-cnn",
        "digits",
    )
    assert found["interval"][0] < found["accuracy"] < found["interval"][1]


def test_evaluate_a_checkpoint(run: Run, trained: Path) -> None:
    file = trained / "model.pt"
    code, out, _ = run("evaluate", file, "--model", "digits-cnn", "--data", "digits", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["accuracy"] == json.loads((trained / "results.json").read_text())["test"]["accuracy"]
    assert found["bytes"] == file.stat().st_size
    other = ("--normalize", "0/1", "--json")
    code, out, _ = run("evaluate", file, "--model", "digits-cnn", "--data", "digits", *other)
    assert code == 0
    assert json.loads(out)["loss"] != found["loss"]


def test_inspect(run: Run, compressed: Path) -> None:
    code, out, _ = run("inspect", compressed / "model.pith", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["bytes"] == (compressed / "model.pith").stat().st_size
    assert found["architecture"] == "digits-cnn"
    assert found["normalization"] == [[0.3053], [0.3758]]
    assert sum(found["parts"].values()) == found["bytes"]
    tensor = next(t for t in found["tensors"] if t["name"] == "conv3.weight")
    assert {"name", "shape", "coding", "zeros", "levels", "bits", "bytes"} <= set(tensor)
    assert tensor["levels"] == 8
    code, out, _ = run("inspect", compressed / "model.pith")
    assert code == 0
    assert "conv3.weight" in out
    assert f"{found['bytes']:,} bytes" in out


def test_unpack(run: Run, compressed: Path, tmp_path: Path) -> None:
    to = tmp_path / "model.pt"
    assert run("unpack", compressed / "model.pith", "--to", to)[0] == 0
    state, loaded = torch.load(to, weights_only=True), pn.load(compressed / "model.pith").state_dict()
    assert list(state) == list(loaded)
    assert all(torch.equal(state[k], loaded[k]) for k in loaded)
    pn.zoo.load("digits-cnn", to)


def test_report(run: Run, compressed: Path, tmp_path: Path) -> None:
    code, out, _ = run("report", compressed, "--out", tmp_path / "page.html")
    assert code == 0
    assert out.strip() == str(tmp_path / "page.html")
    assert "<html" in (tmp_path / "page.html").read_text()
