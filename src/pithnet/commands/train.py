"""Training from random weights in a run folder, stoppable after every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pithnet.atomic import staged
from pithnet.commands.devices import get_device
from pithnet.commands.fingerprints import check_inputs, fingerprints
from pithnet.commands.inputs import (
    check_architecture,
    check_fit,
    load_images,
    load_network,
    load_teacher,
    normalization_of,
)
from pithnet.commands.settings import DataSettings, TrainSettings, from_json, to_json
from pithnet.data import Batches
from pithnet.errors import DataError, PithError, RecipeError
from pithnet.learn import (
    Evaluation,
    Objective,
    Trainer,
    Training,
    cached_teacher_logits,
    evaluate,
    resolve_precision,
)
from pithnet.results import Store
from pithnet.run.epochs import run_epochs
from pithnet.run.hardware import hardware
from pithnet.run.progress import Quiet
from pithnet.run.states import load_state

TEMPERATURE = 4.0
VIEWS = 6  # augmented views of every image that a teacher is asked about, once


def train(
    data: DataSettings, settings: TrainSettings, out: Path, *, report: Quiet | None = None, command: str = ""
) -> dict[str, Any]:
    """Trains a network of the zoo from random weights in a new run folder.

    A seed gives the same model.pt again on the CPU. `out` gets settings.json, events.jsonl, state.pt (after
    every epoch), model.pt (the last epoch's state_dict) and results.json.

    Args:
        data: Which images.
        settings: Which network, and how it is trained.
        out: A new folder for the run.
        report: Shows what happens; nothing where None.
        command: What results.json says the run was started by.

    Returns:
        What results.json holds.

    Raises:
        PithError: Whatever is wrong, before `out` is made.
    """
    prepared = _Prepared(data, settings, report or Quiet())
    content = to_json("train", command, data, prepared.settings, prepared.inputs)
    with Store.create(out, content) as store:
        return prepared.run(store, command)


def resume(run: Path, *, report: Quiet | None = None) -> dict[str, Any]:
    """Continues what `train` began there, and ends as it would have ended.

    Args:
        run: The run's folder.
        report: Shows what happens; nothing where None.

    Returns:
        What results.json holds.

    Raises:
        PithError: The folder holds no such run, or whatever `train` refuses is wrong.
    """
    with Store.open(run) as store:
        content = store.read_json("settings.json")
        data, settings, command = from_json(content, "train", TrainSettings, run)
        prepared = _Prepared(data, settings, report or Quiet())
        check_inputs(content, prepared.inputs)
        return prepared.run(store, command)


class _Prepared:
    """Images, network and settings, checked; `run` only computes."""

    def __init__(self, data: DataSettings, settings: TrainSettings, report: Quiet) -> None:
        self.data, self.report = data, report
        training_of(settings)
        device = get_device(settings.device)
        name = check_architecture(settings.model)
        self.images = load_images(data, train=True, progress=report.download)
        if self.images.classes < 2:
            raise DataError(f"{data.name} has {self.images.classes} class; a network tells two or more apart")
        self.normalization = normalization_of(data)
        torch.manual_seed(settings.seed)
        self.model = load_network(name, self.images, None).to(device)
        check_fit(self.model, self.images, self.normalization, name)
        # "auto" is decided by a stopwatch: a resumed run must not decide again.
        x = next(iter(self.images.train_batches(settings.batch_size, self.normalization, False, 0)))[0]
        assert x is not None
        precision = resolve_precision(settings.precision, self.model, x.to(device))
        self.settings = replace(settings, precision=precision)
        self.teacher = None
        if settings.teacher is not None:
            self.teacher = load_teacher(settings.teacher, self.images, data, device)
        elif self.images.train is not None and self.images.train.labels is None:
            raise RecipeError(
                f"the training images of {data.name} have no labels: give a --teacher, or labelled images"
            )
        self.inputs = fingerprints(self.images, teacher=settings.teacher)

    def run(self, store: Store, command: str) -> dict[str, Any]:
        state = load_state(store)
        if state is not None:
            self.model.load_state_dict(state["model"])
        trainer = Trainer(
            self.model,
            self._batches(store.path),
            training_of(self.settings),
            on_batch=partial(self.report.batch, "train"),
        )
        resumed = None if state is None else state["trainer"]
        self.report.begin(self.settings.epochs, 0 if resumed is None else resumed["epoch"])
        run_epochs(trainer, store, title="train", resumed=resumed, show=self.report)
        save_checkpoint(store.path / "model.pt", self.model.state_dict(), store.then)
        results = self._results(store, command)
        store.write_record("results.json", results)
        return results

    def _batches(self, run: Path) -> Batches:
        s = self.settings
        batches = self.images.train_batches(s.batch_size, self.normalization, True, s.seed)
        if self.teacher is None:
            return batches
        source = self.images.train_batches(s.batch_size, self.teacher.normalization, True, s.seed)
        answered = self._on_teacher
        return batches.with_soft(
            cached_teacher_logits(self.teacher.model, source, VIEWS, run / "cache", answered)
        )

    def _on_teacher(self, done: int, total: int) -> None:
        self.report.batch("teacher", done, total)

    def _results(self, store: Store, command: str) -> dict[str, Any]:
        measured = evaluate(self.model, self.images.test_batches(self.normalization))
        epochs = store.events("epoch")
        return {
            "kind": "train",
            "model": self.settings.model,
            "dataset": self.data.name,
            "test": evaluation_json(measured),
            "measured_on": measured_on(self.data),
            "epochs": self.settings.epochs,
            "seed": self.settings.seed,
            "seconds": sum(e["seconds"] for e in epochs),
            "normalization": {"mean": list(self.normalization.mean), "std": list(self.normalization.std)},
            "settings": asdict(self.settings),
            "hardware": hardware(),
            "command": command,
        }


def training_of(settings: TrainSettings) -> Training:
    """Returns the settings as the trainer takes them.

    Raises:
        RecipeError: An option is out of range; the message names it.
    """
    if settings.batch_size < 1:
        raise RecipeError(f"--batch-size {settings.batch_size}: a batch has 1 image or more")
    for name in ("label_smoothing", "distill"):
        value = getattr(settings, name)
        if not 0 <= value <= 1:
            raise RecipeError(f"--{name.replace('_', '-')} {value}: choose a number from 0 to 1")
    objective = Objective(
        settings.label_smoothing, settings.distill if settings.teacher else 0.0, TEMPERATURE
    )
    return Training(**settings.settings(), precision=settings.precision, objective=objective)


def evaluation_json(e: Evaluation) -> dict[str, Any]:
    """Returns the accuracy, in [0, 1], with its 95 % interval, n and the loss, as results hold them."""
    return {"accuracy": e.accuracy, "interval": list(e.interval), "n": e.n, "loss": e.loss}


def measured_on(data: DataSettings) -> str:
    """Says what an accuracy was measured on, for results."""
    return f"{data.val} held-out training images" if data.val else "test images"


def save_checkpoint(path: Path, state: Mapping[str, Tensor], then: str = "or choose another folder") -> None:
    """Writes a plain dict of tensors, on the CPU, by torch.save, whole or not at all.

    Args:
        path: The file.
        state: The tensors by name.
        then: How the message goes on after "free some space".

    Raises:
        PithError: The file cannot be written.
    """
    try:
        with staged(path, then) as part:
            torch.save({name: value.cpu() for name, value in state.items()}, part)
    except RuntimeError as e:  # torch's own writer does not say what the system told it
        first = str(e).splitlines()[0]
        raise PithError(f"{path} cannot be written ({first}); free some space {then}") from None
