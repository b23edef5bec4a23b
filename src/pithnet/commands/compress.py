"""Compressing, from settings to a finished run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pithnet.commands.fingerprints import check_inputs
from pithnet.commands.recipes import asked_recipe
from pithnet.commands.settings import CompressSettings, DataSettings
from pithnet.commands.settings_file import from_json, to_json
from pithnet.commands.subject import Learning, Subject, open_subject
from pithnet.passes import Given, Need, needs_of
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
    recipe, report = _recipe(settings), report or Quiet()
    job = _prepared(data, settings, recipe, out, report)
    files = {"recipe.yaml": to_yaml(job.problem.recipe).encode()}
    with Store.create(out, to_json("compress", command, data, settings, job.subject.inputs), files) as store:
        return job.run(store, command, report, announce)


def _recipe(settings: CompressSettings) -> Recipe:
    """The recipe that the settings name, with what they say of it."""
    recipe = asked_recipe(settings)
    return recipe if settings.seed is None else recipe.model_copy(update={"seed": settings.seed})


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
        check_inputs(content, job.subject.inputs)
        return job.run(store, command, report, announce)


@dataclass(frozen=True, eq=False)
class _Job:
    """A checked problem, its plan, and what it was made of."""

    problem: Problem
    plan: Plan
    subject: Subject

    def run(self, store: Store, command: str, report: Quiet, announce: Announce | None) -> Finished:
        store.write_record("plan.json", self.plan.to_json())
        if announce:
            announce(self.plan)
        torch.manual_seed(self.problem.recipe.seed)
        result = carry_out(self.problem, store, report)
        more = {"dataset": self.subject.data, "measured_on": self.subject.measured_on}
        return Finished(store, result, record(result, self.problem.recipe, store, command, more))


def _prepared(
    data: DataSettings, settings: CompressSettings, recipe: Recipe, run: Path, report: Quiet
) -> _Job:
    """Recipe, network, images and teacher, checked; `run` is the folder they are for."""
    reads = recipe.epochs > 0 or bool(needs_of(recipe) & {Need.BATCHES, Need.LABELS})
    learning = Learning(reads, recipe.batch_size, recipe.augment, recipe.seed)
    subject = open_subject(data, settings, learning, report)
    plan = make_plan(subject.model, recipe, Given(seed=recipe.seed, example=subject.example))
    problem = prepare(
        subject.model,
        recipe,
        train=subject.train,
        test=subject.test,
        teacher=subject.teacher,
        teacher_batches=subject.teacher_batches,
        loss=subject.loss,
        metric=subject.metric,
        metadata=subject.metadata(recipe.name),
        cache=Path(settings.cache) if settings.cache else run / "cache",
    )
    return _Job(problem, plan, subject)
