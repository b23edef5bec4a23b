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
from pithnet.errors import ModelError
from pithnet.passes import Given
from pithnet.recipe import Recipe, load_recipe, to_yaml
from pithnet.results import Store
from pithnet.run.compression import carry_out
from pithnet.run.plan import Plan, make_plan
from pithnet.run.problem import Problem, prepare
from pithnet.run.progress import Quiet
from pithnet.run.result import Result, record

Announce = Callable[[Plan], None]


@dataclass(frozen=True, eq=False)
class Finished:
    """A run that is done: its folder holds model.pith and results.json, whose content is `results`."""

    store: Store
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
    """Carries out a recipe on a checkpoint.

    `out` gets settings.json, recipe.yaml (resolved), plan.json, events.jsonl, state.pt (after every epoch),
    the weights after every step, model.pith and results.json.

    Args:
        data: Which images.
        settings: Which network and recipe.
        out: A new folder for the run.
        report: Shows what happens; nothing where None.
        announce: Gets the plan before anything is trained.
        command: What results.json says the run was started by.

    Raises:
        PithError: Whatever is wrong, before `out` is made.
    """
    recipe = load_recipe(settings.recipe)
    if settings.seed is not None:
        recipe = recipe.model_copy(update={"seed": settings.seed})
    report = report or Quiet()
    job = _prepared(data, settings, recipe, out, report)
    files = {"recipe.yaml": to_yaml(job.problem.recipe).encode()}
    with Store.create(out, to_json("compress", command, data, settings, job.inputs), files) as store:
        return job.run(store, command, report, announce)


def resume(run: Path, *, report: Quiet | None = None, announce: Announce | None = None) -> Finished:
    """Continues what `compress` began there, and ends in the same bytes.

    Args:
        run: The run's folder.
        report: Shows what happens; nothing where None.
        announce: Gets the plan before anything is trained.

    Raises:
        PithError: The folder holds no such run, or whatever `compress` refuses is wrong.
    """
    report = report or Quiet()
    with Store.open(run) as store:
        content = store.read_json("settings.json")
        data, settings, command = from_json(content, "compress", CompressSettings, run)
        job = _prepared(data, settings, load_recipe(run / "recipe.yaml"), run, report)
        check_inputs(content, job.inputs)
        return job.run(store, command, report, announce)


@dataclass(frozen=True, eq=False)
class _Job:
    """A checked problem, its plan, what it learns from as digests, and where its images come from."""

    problem: Problem
    plan: Plan
    inputs: dict[str, str]
    data: DataSettings

    def run(self, store: Store, command: str, report: Quiet, announce: Announce | None) -> Finished:
        store.write_record("plan.json", self.plan.to_json())
        if announce:
            announce(self.plan)
        torch.manual_seed(self.problem.recipe.seed)
        result = carry_out(self.problem, store, report)
        more = {"dataset": self.data.name, "measured_on": measured_on(self.data)}
        return Finished(store, result, record(result, self.problem.recipe, store, command, more))


def _prepared(
    data: DataSettings, settings: CompressSettings, recipe: Recipe, run: Path, report: Quiet
) -> _Job:
    """Recipe, network, images and teacher, checked; `run` is the folder they are for."""
    device = get_device(settings.device)
    name = check_architecture(settings.model)
    if settings.weights is None:
        raise ModelError("there is nothing to compress: give --weights FILE")
    weights = Path(settings.weights)
    images = load_images(data, train=recipe.epochs > 0, progress=report.download)
    model = load_network(name, images, weights).to(device)
    normalization = normalization_of(data, weights)
    check_fit(model, images, normalization, name)
    teacher = None if settings.teacher is None else load_teacher(settings.teacher, images, data, device)
    inputs = fingerprints(images, settings.weights, settings.teacher)
    example = torch.zeros(1, *images.test.images.shape[1:], device=device)
    plan = make_plan(model, recipe, Given(seed=recipe.seed, example=example))
    parts: dict[str, Any] = {"test": images.test_batches(normalization)}
    if recipe.epochs:
        size, augment, seed = recipe.batch_size, recipe.augment, recipe.seed
        parts["train"] = images.train_batches(size, normalization, augment, seed)
        if teacher is not None:
            parts["teacher_batches"] = images.train_batches(size, teacher.normalization, augment, seed)
    architecture, arguments = model.architecture  # type: ignore[misc]
    metadata = Metadata(
        architecture=architecture,
        arguments=arguments,
        normalization=(normalization.mean, normalization.std),
        dataset=data.name,
        recipe=recipe.name,
        source=inputs["weights"],
    )
    problem = prepare(
        model,
        recipe,
        metadata=metadata,
        teacher=None if teacher is None else teacher.model,
        cache=Path(settings.cache) if settings.cache else run / "cache",
        **parts,
    )
    return _Job(problem, plan, inputs, data)
