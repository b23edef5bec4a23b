"""`pithnet train`: the run folder, and going on after a stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pithnet import zoo
from pithnet.learn import Trainer

from .conftest import Run


def test_run_folder(trained: Path) -> None:
    results = json.loads((trained / "results.json").read_text())
    assert results["test"]["n"] == 500
    assert results["test"]["accuracy"] > 0.6
    low, high = results["test"]["interval"]
    assert low < results["test"]["accuracy"] < high
    assert (results["epochs"], results["seed"], results["dataset"]) == (3, 0, "digits")
    assert results["hardware"]["cores"] >= 1
    assert results["command"].startswith("pithnet train --model digits-cnn --")
    events = [json.loads(line) for line in (trained / "events.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in events if e["event"] == "epoch"] == [1, 2, 3]
    settings = json.loads((trained / "settings.json").read_text())
    assert settings["settings"]["model"] == "digits-cnn"
    zoo.load("digits-cnn", trained / "model.pt")


def test_stopped_and_resumed_gives_the_same_bytes(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "stopped"
    options = ("--model", "digits-cnn", "--data", "digits", "--epochs", 3, "--lr", 0.1, "--batch-size", 64)
    whole = Trainer._epoch

    def stop_in_the_second(self: Trainer, steps: int) -> object:
        record = whole(self, steps)
        if self.epoch == 1:
            raise KeyboardInterrupt
        return record

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", stop_in_the_second)
        code, _, err = run("train", *map(str, options), "--out", out)
    assert code == 130
    assert f"pithnet train --resume {out}" in err
    assert not (out / "model.pt").exists()
    code, text, err = run("train", "--resume", out, "--json")
    assert code == 0
    assert (out / "model.pt").read_bytes() == (trained / "model.pt").read_bytes()
    assert json.loads(text)["test"] == json.loads((trained / "results.json").read_text())["test"]
    assert "epoch 2/3" in err
    assert "epoch 1/3" not in err


def test_held_out_images_are_measured_on(run: Run, tmp_path: Path) -> None:
    options = ("--model", "digits-cnn", "--data", "digits", "--epochs", "1", "--batch-size", "256")
    code, out, _ = run(
        "train", *options, "--val", "97", "--precision", "auto", "--out", tmp_path / "r", "--json"
    )
    results = json.loads(out)
    assert code == 0
    assert (results["test"]["n"], results["measured_on"]) == (97, "97 held-out training images")
    assert results["settings"]["precision"] in ("float32", "bf16")


def test_a_teacher_is_learnt_from(run: Run, trained: Path, tmp_path: Path) -> None:
    options = ("--model", "digits-cnn", "--data", "digits", "--epochs", "1", "--batch-size", "64")
    teacher = ("--teacher", f"digits-cnn:{trained / 'model.pt'}", "--distill", "1")
    assert run("train", *options, "--out", tmp_path / "alone")[0] == 0
    assert run("train", *options, *teacher, "--out", tmp_path / "taught")[0] == 0
    alone, taught = (torch.load(tmp_path / n / "model.pt", weights_only=True) for n in ("alone", "taught"))
    assert not torch.equal(alone["conv1.weight"], taught["conv1.weight"])
    assert list((tmp_path / "taught" / "cache").glob("teacher-*.pt"))
