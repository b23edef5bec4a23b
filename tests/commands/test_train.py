"""A training run is the plain loop of the library, seeded; settings out of range are named as options."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pithnet as pn
from pithnet import zoo
from pithnet.commands.networks import open_network
from pithnet.commands.settings import DataSettings, TrainSettings
from pithnet.commands.train import resume, train, training_of
from pithnet.data import NORMALIZATIONS, Augmentation, Batches, load
from pithnet.errors import DataError, PithError, RecipeError
from pithnet.learn import Trainer, evaluate, from_scratch
from pithnet.run.states import save_checkpoint

DIGITS = DataSettings(data="digits")
SETTINGS = TrainSettings(model="digits-cnn", epochs=2, lr=0.1, batch_size=128, seed=3)


def test_is_the_plain_loop(tmp_path: Path) -> None:
    results = train(DIGITS, SETTINGS, tmp_path / "run", command="pithnet train")
    torch.manual_seed(3)
    model = zoo.build("digits-cnn")
    norm = NORMALIZATIONS["digits"]
    shown = Augmentation(pad=1, flip=False)
    batches = Batches(load("digits", None, "train"), 128, norm, augmentation=shown, shuffle=True, seed=3)
    records = list(Trainer(model, batches, from_scratch(2, lr=0.1)).run())
    measured = evaluate(model, Batches(load("digits", None, "test"), 500, norm))
    torch.save(dict(model.state_dict()), tmp_path / "model.pt")
    assert (tmp_path / "run" / "model.pt").read_bytes() == (tmp_path / "model.pt").read_bytes()
    assert results["test"]["accuracy"] == measured.accuracy
    assert results["test"]["loss"] == measured.loss
    assert results == json.loads((tmp_path / "run" / "results.json").read_text())
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert [e["loss"] for e in events] == [r.loss for r in records]
    assert results["seconds"] == pytest.approx(sum(e["seconds"] for e in events))


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    first = train(DIGITS, replace(SETTINGS, epochs=1), tmp_path / "run")
    before = (tmp_path / "run" / "model.pt").read_bytes()
    assert resume(tmp_path / "run") == first
    assert (tmp_path / "run" / "model.pt").read_bytes() == before


def test_a_changed_teacher_is_not_learnt_from_after_a_stop(tmp_path: Path) -> None:
    teacher = tmp_path / "t.pt"
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(zoo.build("digits-cnn").state_dict(), teacher)
        if seed == 0:
            taught = replace(SETTINGS, epochs=1, teacher=f"digits-cnn:{teacher}")
            train(DIGITS, taught, tmp_path / "run")
    with pytest.raises(PithError, match=rf"the checkpoint {teacher} is not the one this run began with"):
        resume(tmp_path / "run")


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    for name in ("train", "test"):
        pixels = np.zeros((6, 1, 8, 8), np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=pixels, labels=np.zeros(6, int))
    data = DataSettings(data="npz", data_root=str(tmp_path), normalize="digits")
    with pytest.raises(DataError, match="npz has 1 class; a network tells two or more apart"):
        train(data, SETTINGS, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_seed_is_another_model(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1)
    train(DIGITS, settings, tmp_path / "a")
    train(DIGITS, replace(settings, seed=4), tmp_path / "b")
    a, b = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in "ab")
    assert not torch.equal(a["conv1.weight"], b["conv1.weight"])


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"epochs": 0}, "--epochs 0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"warmup": 1.0}, "--warmup 1.0"),
        ({"weight_decay": -1.0}, "--weight-decay -1.0"),
        ({"momentum": 1.0}, "--momentum 1.0"),
        ({"label_smoothing": -0.1}, "--label-smoothing -0.1: choose a number from 0 that is below 1"),
        ({"label_smoothing": 1.0}, "--label-smoothing 1.0: choose a number from 0 that is below 1"),
        ({"label_smoothing": float("nan")}, "--label-smoothing nan"),
        ({"distill": 1.1}, "--distill 1.1: choose a number from 0 to 1"),
        ({"batch_size": 0}, "--batch-size 0"),
    ],
)
def test_settings_out_of_range(change: dict[str, float], option: str) -> None:
    with pytest.raises(RecipeError, match=option):
        training_of(replace(SETTINGS, **change))  # type: ignore[arg-type]


def test_distillation_only_with_a_teacher() -> None:
    assert training_of(SETTINGS).objective.distill == 0
    assert training_of(replace(SETTINGS, teacher="a:b", distill=0.3)).objective.distill == 0.3


def test_save_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", {"x": torch.ones(2)})
    assert torch.equal(torch.load(tmp_path / "a.pt", weights_only=True)["x"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
    with pytest.raises(PithError, match="cannot be written"):
        save_checkpoint(tmp_path / "no" / "a.pt", {"x": torch.ones(2)})


def test_a_network_of_other_widths_is_trained_and_found_again(tmp_path: Path) -> None:
    full, inputs = zoo.build("digits-cnn"), torch.zeros(1, 1, 8, 8)
    plan = pn.plan_shrink(full, inputs, rates={"conv1": 0.1, "conv2": 0.1, "conv3": 0.1}, round_to=1)
    pn.save_state(plan.cut(), tmp_path / "x.pt")
    (tmp_path / "plan.json").write_text(plan.to_json())
    for name in ("x.json", "plan.json"):
        file, run = tmp_path / name, tmp_path / f"run-{name}"
        chosen = replace(SETTINGS, epochs=1, widths=str(file))
        first = train(DIGITS, chosen, run)
        file.write_text('{"widths": {"conv1": 5}}')  # a run that goes on does not look at it again
        assert resume(run)["test"] == first["test"]
        found = open_network(run / "model.pt", "digits-cnn").model
        assert found.architecture == plan.cut().architecture == ("digits-cnn", {"widths": (4, 7, 7)})
        norm = NORMALIZATIONS["digits"]
        measured = evaluate(found, Batches(load("digits", None, "test"), 500, norm))
        assert measured.accuracy == first["test"]["accuracy"]


@pytest.mark.parametrize(
    ("content", "model", "message"),
    [
        ("widths", "digits-cnn", "is no JSON"),
        ("{}", "digits-cnn", 'has no "widths"'),
        ('{"widths": {"conv9": 3}}', "digits-cnn", "unknown layer in widths 'conv9'"),
        ('{"widths": {"conv1": 0}}', "digits-cnn", "conv1 is 0; choose a whole number from 1"),
        ('{"widths": {"linear": 4}}', "digits-cnn", "linear has 4 outputs, and there are 10 classes"),
        ('{"widths": {}}', "torch.nn:Identity", "--widths is for networks of the zoo"),
        (None, "digits-cnn", r"widths\.json cannot be read: No such file"),
    ],
)
def test_widths_that_cannot_be_trained_are_refused(
    tmp_path: Path, content: str | None, model: str, message: str
) -> None:
    file = tmp_path / "widths.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(PithError, match=message):
        train(DIGITS, replace(SETTINGS, model=model, widths=str(file)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
