"""Compressing, from settings to a finished run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pithnet.artifact import Metadata
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
from pithnet.commands.settings import CompressSettings, DataSettings, from_json, to_json
from pithnet.commands.train import measured_on
from pithnet.data import Batches, Normalization
from pithnet.errors import ModelError
from pithnet.recipe import Recipe, load_recipe, to_yaml
from pithnet.run.compression import Compression, Problem, resolved
from pithnet.run.folder import RunFolder
from pithnet.run.plan import Plan, make_plan
from pithnet.run.progress import Quiet
from pithnet.run.result import Result, results_json

Announce = Callable[[Plan], None]


@dataclass(frozen=True, eq=False)
class Finished:
    """A run that is done: its folder holds model.pith and results.json (here: `results`)."""

    folder: RunFolder
    result: Result
    results: dict[str, Any]


def compress(
    data: DataSettings,
    settings: CompressSettings,
    out: Path,
    *,
    report: Quiet | None = None,
    announce: Announce | None = None,
    command: str = "",
) -> Finished:
    """Carries out a recipe on a checkpoint. `announce` gets the plan before anything is trained.

    `out` gets settings.json, recipe.yaml (resolved), plan.json, events.jsonl, state.pt (after every epoch),
    the weights after every step, model.pith and results.json. Raises PithError for whatever is wrong, before
    `out` is made.
    """
    recipe = load_recipe(settings.recipe)
    if settings.seed is not None:
        recipe = recipe.model_copy(update={"seed": settings.seed})
    job = _Job(data, settings, recipe, report or Quiet())
    recipe_file = {"recipe.yaml": to_yaml(job.recipe).encode()}
    content = to_json("compress", command, data, settings, job.inputs)
    with RunFolder.create(out, content, recipe_file) as folder:
        return job.run(folder, command, announce)


def resume(run: Path, *, report: Quiet | None = None, announce: Announce | None = None) -> Finished:
    """Continues what `compress` began there, and ends in the same bytes. Raises PithError as `compress`."""
    with RunFolder.open(run) as folder:
        content = folder.read_json("settings.json")
        data, settings, command = from_json(content, "compress", CompressSettings, run)
        job = _Job(data, settings, load_recipe(run / "recipe.yaml"), report or Quiet())
        check_inputs(content, job.inputs)
        return job.run(folder, command, announce)


class _Job:
    """Recipe, network, images and teacher, checked; `run` only computes."""

    def __init__(self, data: DataSettings, settings: CompressSettings, recipe: Recipe, report: Quiet) -> None:
        self.data, self.settings, self.report = data, settings, report
        device = get_device(settings.device)
        name = check_architecture(settings.model)
        if settings.weights is None:
            raise ModelError("there is nothing to compress: give --weights FILE")
        weights = Path(settings.weights)
        self.recipe = recipe
        self.images = load_images(data, train=recipe.epochs > 0, progress=report.download)
        self.model = load_network(name, self.images, weights).to(device)
        self.normalization = normalization_of(data, weights)
        check_fit(self.model, self.images, self.normalization, name)
        self.teacher = (
            None if settings.teacher is None else load_teacher(settings.teacher, self.images, data, device)
        )
        self.inputs = fingerprints(self.images, settings.weights, settings.teacher)
        self.plan = make_plan(self.model, recipe)
        self.train = self._train_batches(self.normalization) if recipe.epochs else None
        self.recipe = resolved(recipe, self.model, self.train)

    def run(self, folder: RunFolder, command: str, announce: Announce | None) -> Finished:
        folder.write_json("plan.json", self.plan.to_json())
        if announce:
            announce(self.plan)
        torch.manual_seed(self.recipe.seed)
        compression = Compression(self._problem(folder.path), self.recipe, folder, self.report.batch)
        compression.on_epoch = self.report.epoch
        self.report.begin(self.recipe.epochs, _epochs_done(self.recipe, folder))
        result = compression.run()
        folder.write("model.pith", result.data)
        results = results_json(result, self.recipe, folder, command)
        results |= {"dataset": self.data.name, "measured_on": measured_on(self.data)}
        folder.write_json("results.json", results)
        return Finished(folder, result, results)

    def _problem(self, run: Path) -> Problem:
        cache = Path(self.settings.cache) if self.settings.cache else run / "cache"
        problem = Problem(self.model, metadata=self._metadata(), cache=cache)
        problem.test = self.images.test_batches(self.normalization)
        problem.train = self.train
        if self.teacher is not None:
            problem.teacher = self.teacher.model
            if self.train is not None:
                problem.teacher_batches = self._train_batches(self.teacher.normalization)
        return problem

    def _train_batches(self, normalization: Normalization) -> Batches:
        r = self.recipe
        return self.images.train_batches(r.batch_size, normalization, r.augment, r.seed)

    def _metadata(self) -> Metadata:
        name, arguments = self.model.architecture  # type: ignore[misc]
        return Metadata(
            architecture=name,
            arguments=arguments,
            normalization=(self.normalization.mean, self.normalization.std),
            dataset=self.data.name,
            recipe=self.recipe.name,
            source=self.inputs["weights"],
        )


def _epochs_done(recipe: Recipe, folder: RunFolder) -> int:
    state = folder.load_state()
    if state is None:
        return 0
    before = sum(step.train.epochs for step in recipe.steps[: state["step"]] if step.train)
    return before + (state["trainer"]["epoch"] if state["trainer"] else 0)
