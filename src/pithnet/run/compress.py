"""A recipe carried out on a model: passes, training in between, the file at the end; can be stopped."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pithnet import artifact
from pithnet.artifact import Metadata
from pithnet.data import Batches
from pithnet.errors import DataError, ModelError, RecipeError
from pithnet.learn import (
    EpochRecord,
    Objective,
    StepSchedule,
    Trainer,
    Training,
    cached_teacher_logits,
    evaluate,
)
from pithnet.passes import (
    GradualPruning,
    LevelTraining,
    Record,
    freeze_levels,
    prune,
    prune_by_std,
    selected_layers,
    share,
)
from pithnet.recipe import Recipe, Step
from pithnet.run.folder import RunFolder
from pithnet.run.result import Result, formula_ratio
from pithnet.run.rivals import rivals
from pithnet.surgery import Storage, finalize, restore
from pithnet.tensor import get_criterion

Progress = Callable[[str, int, int], None]


@dataclass
class Problem:
    """What to compress, and on what.

    train: batches to fine-tune on, None for recipes without training. test: batches to measure accuracy on.
    teacher: who to learn from, the float model itself where None; teacher_batches: the training images as the
    teacher expects them, where its normalisation differs. cache: folder for the teacher's answers.
    """

    model: nn.Module
    train: Iterable[Any] | None = None
    test: Iterable[Any] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    teacher: nn.Module | None = None
    teacher_batches: Batches | None = None
    cache: Path | None = None


def check(problem: Problem, recipe: Recipe) -> None:
    """Raises RecipeError, ModelError or DataError for what would fail later, perhaps after hours."""
    if recipe.epochs and problem.train is None:
        raise RecipeError(f"recipe {recipe.name!r} trains for {recipe.epochs} epochs and needs training data")
    for name, value in problem.model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"{name} holds NaN or inf; train or export the model again")
    _check_data(problem, recipe)
    _check_passes(problem.model, recipe)


def _check_data(problem: Problem, recipe: Recipe) -> None:
    train, test, theirs = problem.train, problem.test, problem.teacher_batches
    if isinstance(test, Batches) and test.data.labels is None:
        raise DataError("accuracy needs labels, and the test data has none; leave it out, or give labels")
    if not recipe.epochs or not isinstance(train, Batches):
        return
    if train.data.labels is None and not recipe.distill.weight:
        raise RecipeError("training without labels needs a teacher; give the recipe a distill weight above 0")
    if theirs is None or not recipe.distill.weight:
        return
    mine = (len(train.data), train.seed, train.augmentation)
    if mine != (len(theirs.data), theirs.seed, theirs.augmentation):
        raise RecipeError(
            "the teacher must see the same images: same data, seed and augmentation in its batches"
        )


def _check_passes(model: nn.Module, recipe: Recipe) -> None:
    shared: set[str] = set()
    for step in recipe.steps:
        what = step.prune or step.share
        if what is None:
            continue
        names = {name for name, _ in selected_layers(model, what.skip)}
        if step.share:
            shared |= names
            continue
        if shared & names:
            raise RecipeError(
                f"{step.title!r} comes after sharing, but shared weights cannot be pruned; change the order"
            )
        get_criterion(step.prune.criterion if step.prune else "")


class Compression:
    """One run of a recipe. `run()` changes neither the problem's model nor its teacher."""

    def __init__(
        self,
        problem: Problem,
        recipe: Recipe,
        folder: RunFolder | None = None,
        progress: Progress | None = None,
    ) -> None:
        check(problem, recipe)
        self.problem, self.recipe, self.folder, self.progress = problem, recipe, folder, progress
        self.model = copy.deepcopy(problem.model)
        self.teacher = problem.teacher
        self.train = problem.train
        self.on_epoch: Callable[[str, EpochRecord, int], None] | None = None
        self.on_step_end: Callable[[int, Step, nn.Module], None] | None = None

    def run(self) -> Result:
        start = time.perf_counter()
        state = self.folder.load_state() if self.folder else None
        first = 0
        if state is not None:
            restore(self.model, state["model"])
            first = state["step"]
        self._prepare_teacher()
        for number, step in enumerate(self.recipe.steps[first:], first):
            resumed = state["trainer"] if state is not None and number == first else None
            self._step(number, step, resumed)
            if self.folder:
                # Plain weights: another run can start here (--weights RUN/step-N.pt).
                self.folder.save_tensors(f"step-{number + 1}.pt", artifact.plain_state(self.model))
            if self.on_step_end:
                self.on_step_end(number, step, self.model)
            self._save(number + 1, None)
        return self._finish(start)

    def _prepare_teacher(self) -> None:
        if self.recipe.distill.weight == 0 or not self.recipe.epochs:
            self.teacher = None
            return
        teacher = copy.deepcopy(self.problem.teacher or self.problem.model)
        if isinstance(self.train, Batches):
            views = self.recipe.distill.views if self.train.augmentation else 1
            source = self.problem.teacher_batches or self.train
            soft = cached_teacher_logits(
                teacher, source, views, self.problem.cache, self._on_batch("teacher")
            )
            self.train, self.teacher = self.train.with_soft(soft), None
        else:
            self.teacher = teacher.eval()

    def _step(self, number: int, step: Step, resumed: dict[str, Any] | None) -> None:
        schedule, record = self._begin(step, fresh=resumed is None)
        if record is not None and resumed is None:
            self._event("pass", number=number, record=record)
        if step.train:
            trainer = self._trainer(step, schedule)
            if resumed is not None:
                trainer.load_state_dict(resumed)
            for epoch in trainer.run():
                if self.folder:
                    self.folder.event("epoch", number=number, step=step.title, **asdict(epoch))
                self._save(number, trainer.state_dict())
                if self.on_epoch:
                    self.on_epoch(step.title, epoch, step.train.epochs)
        if isinstance(schedule, GradualPruning) and schedule.record:
            self._event("pass", number=number, record=schedule.record)
        if isinstance(schedule, LevelTraining):
            self._event("pass", number=number, record=freeze_levels(self.model))

    def _begin(self, step: Step, fresh: bool) -> tuple[StepSchedule | None, Record | None]:
        generator = torch.Generator().manual_seed(self.recipe.seed)
        if step.prune:
            p = step.prune
            if p.ramp:
                assert p.sparsity is not None
                options = p.model_dump(include={"ramp", "schedule", "updates", "scope", "criterion", "skip"})
                return GradualPruning(self.model, p.sparsity, seed=self.recipe.seed, **options), None
            if fresh and p.std is not None:
                return None, prune_by_std(self.model, p.std, skip=p.skip)
            if fresh and p.sparsity is not None:
                options = p.model_dump(include={"scope", "criterion", "skip"})
                return None, prune(self.model, p.sparsity, generator=generator, **options)
        if step.share:
            options = step.share.model_dump(exclude={"trained"})
            if step.share.trained:
                return LevelTraining(self.model, generator=generator, **options), None
            if fresh:
                return None, share(self.model, generator=generator, **options)
        return None, None

    def _trainer(self, step: Step, schedule: StepSchedule | None) -> Trainer:
        assert step.train is not None
        assert self.train is not None
        d = self.recipe.distill
        objective = Objective(self.recipe.label_smoothing, d.weight, d.temperature)
        training = Training(**step.train.model_dump(), objective=objective)
        batches = self.train
        return Trainer(
            self.model,
            batches,
            training,
            teacher=self.teacher,
            before_step=schedule,
            on_batch=self._on_batch(step.title),
        )

    def _finish(self, start: float) -> Result:
        final = finalize(self.model, Storage(**self.recipe.storage.model_dump()))
        before = after = None
        if self.problem.test is not None:
            before, after = (
                evaluate(self.problem.model, self.problem.test),
                evaluate(final, self.problem.test),
            )
        meta = self.problem.metadata
        if after is not None:
            meta = replace(meta, claimed=(after.n, int(after.correct.sum())))
        data = artifact.encode(final, meta)
        inspection = artifact.inspect(data)
        return Result(
            final,
            data,
            self.recipe.name,
            before,
            after,
            inspection,
            rivals(self.problem.model, final),
            formula_ratio(inspection),
            artifact.float32_bytes(artifact.plain_state(self.problem.model)),
            time.perf_counter() - start,
        )

    def _save(self, step: int, trainer: dict[str, Any] | None) -> None:
        if self.folder:
            self.folder.save_state({"step": step, "trainer": trainer, "model": self.model.state_dict()})

    def _event(self, kind: str, number: int, record: Record) -> None:
        if self.folder:
            self.folder.event(
                kind, number=number, what=record.what, layers=[asdict(r) for r in record.layers]
            )

    def _on_batch(self, title: str) -> Callable[[int, int], None] | None:
        progress = self.progress
        return None if progress is None else lambda done, total: progress(title, done, total)
