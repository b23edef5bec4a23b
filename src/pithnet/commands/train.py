"""Training from random weights in a run folder, stoppable after every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from pithnet import zoo
from pithnet.artifact import save_widths
from pithnet.commands.fingerprints import check_inputs
from pithnet.commands.settings import DataSettings, TrainSettings
from pithnet.commands.settings_file import from_json, to_json
from pithnet.commands.subject import Learning, open_subject
from pithnet.data import Batches
from pithnet.errors import DataError, RecipeError
from pithnet.learn import (
    Loss,
    Objective,
    Trainer,
    Training,
    cached_teacher_logits,
    evaluate_together,
    resolve_precision,
    try_measuring,
    try_training,
)
from pithnet.results import Store
from pithnet.run.epochs import run_epochs
from pithnet.run.hardware import hardware
from pithnet.run.progress import Quiet
from pithnet.run.result import measured_json
from pithnet.run.states import load_state, save_checkpoint

TEMPERATURE = 4.0
VIEWS = 6  # augmented views of every image that a teacher is asked about, once


def train(
    data: DataSettings, settings: TrainSettings, out: Path, *, report: Quiet | None = None, command: str = ""
) -> dict[str, Any]:
    """Trains a network of the zoo from random weights, or one of the user's own as its function returns it.

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
    widths = None if settings.widths is None else zoo.read_widths(settings.widths)
    prepared = _Prepared(data, settings, report or Quiet(), widths)
    content = to_json("train", command, data, prepared.settings, prepared.inputs)
    content |= {} if widths is None else {"widths": widths}
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
        # The file may have changed since: the run keeps the widths that it began with.
        widths = None if settings.widths is None else zoo.widths_in(content, run / "settings.json")
        prepared = _Prepared(data, settings, report or Quiet(), widths)
        check_inputs(content, prepared.inputs)
        return prepared.run(store, command)


class _Prepared:
    """Network, data and settings, checked; `run` only computes."""

    def __init__(
        self,
        data: DataSettings,
        settings: TrainSettings,
        report: Quiet,
        widths: Mapping[str, int] | None,
    ) -> None:
        self.report = report
        training_of(settings)
        _check_batch_size(data, settings)
        learning = Learning(True, settings.batch_size, True, settings.seed)
        self.subject = subject = open_subject(data, settings, learning, report, widths)
        self.model, self.inputs = subject.model, subject.inputs
        if subject.train is None:
            raise DataError(
                f"--data {subject.data} returned no train loader, and there is nothing to learn from"
            )
        if subject.loss is not None and settings.label_smoothing:
            raise RecipeError(
                f"--label-smoothing is for the cross-entropy, and --data {data.data} has a loss"
            )
        first = try_training(self.model, subject.train, subject.loss, subject.teacher)
        if first.targets is None and first.soft is None and subject.teacher is None and subject.loss is None:
            raise RecipeError(
                f"the training images of {subject.data} have no labels: give a --teacher, or labelled images"
            )
        if subject.test is not None:
            try_measuring(self.model, subject.test, subject.loss, subject.metric)
        # "auto" is decided by a stopwatch: a resumed run must not decide again.
        precision = settings.precision
        if precision == "auto" and subject.loss is not None:
            precision = "float32"  # a loss of the user's may need more than 8 bits
        precision = resolve_precision(precision, self.model, first.inputs)
        self.settings = replace(settings, precision=precision)

    def run(self, store: Store, command: str) -> dict[str, Any]:
        state = load_state(store)
        if state is not None:
            self.model.load_state_dict(state["model"])
        batches = self._batches(store.path)
        trainer = Trainer(
            self.model,
            batches,
            training_of(self.settings, self.subject.loss),
            # A data set's images come with the teacher's logits.
            teacher=self.subject.teacher if self.subject.teacher_batches is None else None,
            on_batch=partial(self.report.batch, "train"),
        )
        resumed = None if state is None else state["trainer"]
        self.report.begin(self.settings.epochs, 0 if resumed is None else resumed["epoch"])
        run_epochs(trainer, store, title="train", resumed=resumed, show=self.report)
        save_checkpoint(store.path / "model.pt", self.model.state_dict(), store.advice)
        if self.settings.widths is not None:
            save_widths(self.model, store.path / "model.pt")
        results = self._results(store, command)
        store.write_record("results.json", results)
        return results

    def _batches(self, run: Path) -> Iterable[Any]:
        batches, seen, teacher = self.subject.train, self.subject.teacher_batches, self.subject.teacher
        assert batches is not None
        if teacher is None or seen is None or not isinstance(batches, Batches):
            return batches
        return batches.with_soft(cached_teacher_logits(teacher, seen, VIEWS, run / "cache", self._on_teacher))

    def _on_teacher(self, done: int, total: int) -> None:
        self.report.batch("teacher", done, total)

    def _results(self, store: Store, command: str) -> dict[str, Any]:
        s, test = self.subject, self.subject.test
        measured = None
        if test is not None:
            measured = evaluate_together([self.model], test, loss=s.loss, metric=s.metric)[0]
        n, epochs = s.normalization, store.events("epoch")
        return {
            "kind": "train",
            "model": self.settings.model,
            "dataset": s.data,
            "test": measured_json(measured),
            "measured_on": s.measured_on,
            "epochs": self.settings.epochs,
            "seed": self.settings.seed,
            "seconds": sum(e["seconds"] for e in epochs),
            "normalization": None if n is None else {"mean": list(n.mean), "std": list(n.std)},
            "settings": asdict(self.settings),
            "hardware": hardware(),
            "command": command,
        }


def _check_batch_size(data: DataSettings, settings: TrainSettings) -> None:
    if data.own and settings.batch_size != TrainSettings.batch_size:
        raise DataError(
            f"--batch-size {settings.batch_size}: --data {data.data} makes its own batches, so leave it out"
        )


def training_of(settings: TrainSettings, loss: Loss | None = None) -> Training:
    """Returns the settings as the trainer takes them.

    Args:
        settings: The options.
        loss: The user's own loss, or None.

    Raises:
        RecipeError: An option is out of range; the message names it.
    """
    if settings.batch_size < 1:
        raise RecipeError(f"--batch-size {settings.batch_size}: a batch has 1 image or more")
    if not 0 <= settings.label_smoothing < 1:
        raise RecipeError(
            f"--label-smoothing {settings.label_smoothing}: choose a number from 0 that is below 1"
        )
    if not 0 <= settings.distill <= 1:
        raise RecipeError(f"--distill {settings.distill}: choose a number from 0 to 1")
    objective = Objective(
        settings.label_smoothing, settings.distill if settings.teacher else 0.0, TEMPERATURE, loss
    )
    return Training(**settings.settings(), precision=settings.precision, objective=objective)
