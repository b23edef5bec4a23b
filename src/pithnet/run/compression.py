"""A recipe carried out on a model: passes, training in between, the file at the end; can be stopped."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from pithnet import artifact
from pithnet.data import Batches
from pithnet.learn import (
    EpochRecord,
    Evaluation,
    Objective,
    StepSchedule,
    Trainer,
    Training,
    cached_teacher_logits,
    evaluate_together,
)
from pithnet.passes import (
    GradualPruning,
    LevelTraining,
    Record,
    Regularization,
    freeze_levels,
    prune,
    prune_by_std,
    quantize,
    share,
)
from pithnet.recipe import Recipe, Step
from pithnet.run.folder import RunFolder
from pithnet.run.measurements import measurements, sparsity
from pithnet.run.problem import Problem, check, remark, resolved
from pithnet.run.result import Result, formula_ratio
from pithnet.run.rivals import rivals, sampled
from pithnet.surgery import Storage, coverage, finalize, restore

__all__ = ["Compression", "Problem", "check", "resolved"]

Progress = Callable[[str, int, int], None]


class Compression:
    """One run of a recipe. `run()` changes neither the problem's model nor its teacher.

    rivals: whether the trivial ways to make the model smaller are measured beside it.
    """

    def __init__(
        self,
        problem: Problem,
        recipe: Recipe,
        folder: RunFolder | None = None,
        progress: Progress | None = None,
        rivals: bool = True,
    ) -> None:
        check(problem, recipe)
        self.problem, self.folder, self.progress, self.rivals = problem, folder, progress, rivals
        self.recipe = resolved(recipe, problem.model, problem.train, problem.loss)
        self.remark = remark(recipe, problem.train, problem.loss, self.recipe)
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
        elif self.folder and self.remark:
            self.folder.event("remark", text=self.remark)
        self._prepare_teacher()
        for number, step in enumerate(self.recipe.steps[first:], first):
            resumed = state["trainer"] if state is not None and number == first else None
            self._step(number, step, resumed)
            if self.folder:
                # Plain weights: another run can start here (--weights RUN/step-N.pt).
                plain = {name: value.cpu() for name, value in artifact.plain_state(self.model).items()}
                self.folder.save_tensors(f"step-{number + 1}.pt", plain)
            if self.on_step_end:
                self.on_step_end(number, step, self.model)
            self._save(number + 1, None)
        return self._finish(start)

    def _prepare_teacher(self) -> None:
        if self.recipe.distill.weight == 0 or not self.recipe.epochs:
            self.teacher = None
            return
        own = self.problem.teacher
        if own is None and isinstance(self.train, Batches) and self.train.soft is not None:
            return  # the user's logits, which the float model's must not replace
        teacher = copy.deepcopy(own or self.problem.model)
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
                    done = {"number": number, "step": step.title, **asdict(epoch)}
                    self.folder.event("epoch", **done, sparsity=sparsity(self.model))
                self._save(number, trainer.state_dict())
                if self.on_epoch:
                    self.on_epoch(step.title, epoch, step.train.epochs)
        if isinstance(schedule, GradualPruning | Regularization) and schedule.record:
            self._event("pass", number=number, record=schedule.record)
        if isinstance(schedule, LevelTraining):
            self._event("pass", number=number, record=freeze_levels(self.model))

    def _begin(self, step: Step, fresh: bool) -> tuple[StepSchedule | None, Record | None]:
        generator = torch.Generator().manual_seed(self.recipe.seed)
        if step.prune:
            p = step.prune
            if p.ramp:
                assert p.sparsity is not None
                options = p.model_dump(
                    include={"ramp", "schedule", "updates", "scope", "criterion", "skip", "also"}
                )
                return GradualPruning(self.model, p.sparsity, seed=self.recipe.seed, **options), None
            if fresh and p.std is not None:
                return None, prune_by_std(self.model, p.std, skip=p.skip, also=p.also)
            if fresh and p.sparsity is not None:
                options = p.model_dump(include={"scope", "criterion", "skip", "also"})
                return None, prune(self.model, p.sparsity, generator=generator, **options)
        if step.regularize:
            return Regularization(self.model, **step.regularize.options), None
        if step.quantize and fresh:
            return None, quantize(self.model, **step.quantize.model_dump())
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
        objective = Objective(self.recipe.label_smoothing, d.weight, d.temperature, self.problem.loss)
        training = Training(
            **step.train.model_dump(),
            precision=self.recipe.precision,
            objective=objective,
            seed=self.recipe.seed,
        )
        return Trainer(
            self.model,
            self.train,
            training,
            teacher=self.teacher,
            before_step=schedule,
            on_batch=self._on_batch(step.title),
        )

    def _finish(self, start: float) -> Result:
        final = finalize(self.model, Storage(**self.recipe.storage.model_dump()))
        before = after = None
        p = self.problem
        if p.test is not None:
            before, after = evaluate_together([p.model, final], p.test, loss=p.measured_loss, metric=p.metric)
        meta = self.problem.metadata
        if isinstance(after, Evaluation):
            meta = replace(meta, claimed=(after.n, int(after.correct.sum())))
        data, inspection = artifact.encode_and_inspect(final, meta)
        if self.folder:
            self.folder.write_json("measurements.json", measurements(self.problem.model, final))
        return Result(
            final,
            data,
            self.recipe.name,
            before,
            after,
            inspection,
            rivals(p.model, final) if self.rivals else {},
            formula_ratio(inspection),
            artifact.float32_bytes(artifact.plain_state(p.model)),
            time.perf_counter() - start,
            coverage(self.model, self.recipe.skipped),
            rivals_estimated=self.rivals and sampled(p.model),
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
