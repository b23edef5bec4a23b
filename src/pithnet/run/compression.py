"""A recipe carried out on a model: passes, training in between, the finished numbers; can be stopped."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from torch import nn

from pithnet import artifact
from pithnet.artifact import Metadata
from pithnet.data import Batches
from pithnet.learn import (
    Evaluation,
    Objective,
    StepSchedule,
    Trainer,
    Training,
    cached_teacher_logits,
    evaluate_together,
)
from pithnet.passes import Given, Pass, pass_of
from pithnet.recipe import Recipe, Step
from pithnet.results import Store
from pithnet.results.run_record import Removed
from pithnet.run.epochs import run_epochs
from pithnet.run.measurements import measurements, sparsity
from pithnet.run.plan import bytes_after
from pithnet.run.problem import Problem
from pithnet.run.progress import Quiet
from pithnet.run.result import Result, formula_ratio
from pithnet.run.rivals import rivals, sampled
from pithnet.run.states import State, load_state, save_state, save_tensors
from pithnet.surgery import Storage, costs, coverage, finalize, restore

_MOST_CLAIMED = 2**31 - 1  # of samples that a file says are right: none needs more bytes
AfterStep = Callable[[int, Step, nn.Module], None]


def carry_out(
    problem: Problem,
    store: Store | None = None,
    show: Quiet | None = None,
    *,
    with_rivals: bool = True,
    after_step: AfterStep | None = None,
) -> Result:
    """Carries out the problem's recipe on a copy of its model.

    Args:
        problem: What `prepare` made.
        store: Keeps what was done, and a run that was stopped goes on in it; None keeps nothing.
        show: Shows what happens.
        with_rivals: Whether the trivial ways to make the model smaller are measured beside it.
        after_step: Called with (number, step, the model as it is) after each step.

    Returns:
        The finalized model, its file's bytes, and what was lost and gained.

    Raises:
        ModelError: The training's loss is not finite.
        DataError: A later batch of the training data cannot be used.
        PithError: The store cannot be written.
    """
    start = time.perf_counter()
    show = show or Quiet()
    work = _Work(problem, store, show)
    show.begin(problem.recipe.epochs, work.epochs_done)
    for number, step in enumerate(problem.recipe.steps[work.first :], work.first):
        work.step(number, step)
        if after_step:
            after_step(number, step, work.model)
        work.keep(number + 1)
    return _measured(work, start, with_rivals)


class _Work:
    """A run in progress: the model as it is now, the teacher, and where the run had come to."""

    def __init__(self, problem: Problem, store: Store | None, show: Quiet) -> None:
        self.problem, self.store, self.show = problem, store, show
        self.model = copy.deepcopy(problem.model)
        self.resumed: State | None = load_state(store) if store else None
        self.first = 0
        self.structures: dict[int, Any] = {}  # what passes did to modules and shapes, by step
        if self.resumed is not None:
            self.structures = self.resumed.get("structures", {})
            self._rebuild(self.model)
            restore(self.model, self.resumed["model"])
            self.first = self.resumed["step"]
        elif store and problem.remark:
            store.event("remark", text=problem.remark)
        self.train, self.teacher = _taught(problem, partial(show.batch, "teacher"))

    @property
    def epochs_done(self) -> int:
        """The epochs that an earlier process trained."""
        if self.resumed is None:
            return 0
        before = self.problem.recipe.steps[: self.first]
        trainer = self.resumed["trainer"]
        return sum(s.train.epochs for s in before if s.train) + (trainer["epoch"] if trainer else 0)

    def _rebuild(self, model: nn.Module) -> None:
        for number, structure in self.structures.items():
            work = pass_of(self.problem.recipe.steps[number])
            assert work is not None
            work.rebuild(model, self._given(work, number), structure)

    def untrained(self) -> nn.Module:
        """Returns the float network with the modules and shapes that the passes have left."""
        model = copy.deepcopy(self.problem.model)
        self._rebuild(model)
        return model

    def _given(self, work: Pass[Any], number: int) -> Given:
        """What a pass of a step gets."""
        is_last = all(step.settings is None for step in self.problem.recipe.steps[number + 1 :])
        weigh = self._file_bytes if is_last else bytes_after(self.problem.recipe, number)
        return replace(self.problem.given, weigh=weigh).only(work.needs)

    def _file_bytes(self, model: nn.Module) -> int:
        """The bytes of the file that the network would make, with all that it says."""
        final = finalize(model, Storage(**self.problem.recipe.storage.model_dump()))
        claimed = (_MOST_CLAIMED, _MOST_CLAIMED) if self.problem.test is not None else None
        return len(artifact.encode(final, replace(self.metadata(final), claimed=claimed)))

    def metadata(self, final: nn.Module) -> Metadata:
        """Returns what the file says of the finalized network, whose modules a pass may have changed."""
        meta = self.problem.metadata
        return artifact.with_architecture(meta, final) if self.structures else meta

    def step(self, number: int, step: Step) -> None:
        """Carries out one step: its pass, and the training that goes with it."""
        trainer = self.resumed["trainer"] if self.resumed and number == self.first else None
        work = pass_of(step)
        schedule = None if work is None else self._begin(work, number, fresh=trainer is None)
        if step.train is not None:
            self._train(number, step, schedule, trainer)
        if work is not None and schedule is not None:
            self._finish(number, work)

    def _begin(self, work: Pass[Any], number: int, fresh: bool) -> StepSchedule | None:
        given = self._given(work, number)
        if not fresh:
            return work.resume(self.model, given)
        schedule = work.begin(self.model, given)
        if schedule is None:
            self._finish(number, work)
        return schedule

    def _finish(self, number: int, work: Pass[Any]) -> None:
        record = work.finish()
        if work.structure is not None:
            self.structures[number] = work.structure
        if self.store:
            rows = [asdict(row) for row in record.layers]
            self.store.event("pass", number=number, what=record.what, layers=rows)

    def _train(self, number: int, step: Step, schedule: StepSchedule | None, resumed: State | None) -> None:
        assert step.train is not None
        assert self.train is not None
        trainer = Trainer(
            self.model,
            self.train,
            training_of(step, self.problem),
            teacher=self.teacher,
            before_step=schedule,
            on_batch=partial(self.show.batch, step.title),
        )
        run_epochs(
            trainer,
            self.store,
            title=step.title,
            number=number,
            state=lambda: {"step": number, "structures": self.structures},
            resumed=resumed,
            measure=lambda epoch: {"sparsity": sparsity(self.model)},
            show=self.show,
        )

    def keep(self, done: int) -> None:
        """Keeps the model after so many steps: to go on from, and as plain weights to start anew from."""
        if self.store:
            plain = {name: value.cpu() for name, value in artifact.plain_state(self.model).items()}
            save_tensors(self.store, f"step-{done}.pt", plain)
            now = {"step": done, "trainer": None, "model": self.model.state_dict()}
            save_state(self.store, {**now, "structures": self.structures})


def training_of(step: Step, problem: Problem) -> Training:
    """Returns the training of a step, with what the whole recipe and the problem say of it."""
    assert step.train is not None
    recipe = problem.recipe
    distill = recipe.distill
    objective = Objective(recipe.label_smoothing, distill.weight, distill.temperature, problem.loss)
    return Training(
        **step.train.settings(), precision=recipe.precision, objective=objective, seed=recipe.seed
    )


def _taught(
    problem: Problem, show: Callable[[int, int], None]
) -> tuple[Iterable[Any] | None, nn.Module | None]:
    """The training batches, with the teacher's logits where they can be looked up, else the teacher."""
    recipe, train, own = problem.recipe, problem.train, problem.teacher
    if recipe.distill.weight == 0 or not recipe.epochs:
        return train, None
    if own is None and isinstance(train, Batches) and train.soft is not None:
        return train, None  # the user's logits, which the float model's must not replace
    teacher = copy.deepcopy(own or problem.model)
    if not isinstance(train, Batches):
        return train, teacher.eval()
    views = recipe.distill.views if train.augmentation else 1
    source = problem.teacher_batches or train
    return train.with_soft(cached_teacher_logits(teacher, source, views, problem.cache, show)), None


def _measured(work: _Work, start: float, with_rivals: bool) -> Result:
    """The result: the finalized model, its bytes, and both models on the same samples."""
    problem, model, store = work.problem, work.model, work.store
    recipe: Recipe = problem.recipe
    final = finalize(model, Storage(**recipe.storage.model_dump()))
    float_model = work.untrained() if work.structures else problem.model
    before = after = None
    if problem.test is not None:
        before, after = evaluate_together(
            [problem.model, final], problem.test, loss=problem.measured_loss, metric=problem.metric
        )
    meta = work.metadata(final)
    if isinstance(after, Evaluation):
        meta = replace(meta, claimed=(after.n, int(after.correct.sum())))
    data, inspection = artifact.encode_and_inspect(final, meta)
    if store:
        store.write_record("measurements.json", measurements(float_model, final))
    return Result(
        final,
        data,
        recipe.name,
        before,
        after,
        inspection,
        rivals(float_model, final) if with_rivals else {},
        formula_ratio(inspection),
        artifact.float32_bytes(artifact.plain_state(problem.model)),
        time.perf_counter() - start,
        coverage(model, recipe.skipped),
        rivals_estimated=with_rivals and sampled(float_model),
        compressed=model,
        removed=_removed(problem, final) if work.structures else None,
    )


def _removed(problem: Problem, final: nn.Module) -> Removed:
    one = problem.given.sample
    full, small = costs(problem.model, one), costs(final, one)
    return Removed(macs=(full.macs, small.macs), parameters=(full.parameters, small.parameters))
