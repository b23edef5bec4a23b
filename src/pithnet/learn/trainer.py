"""The training loop: a learning-rate schedule, bfloat16 where it pays, stoppable after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError
from pithnet.learn.batch import (
    Batch,
    call,
    check_finite,
    describe,
    has_class_labels,
    logits_of,
    read_batch,
)
from pithnet.learn.loaders import batches_per_epoch
from pithnet.learn.losses import Objective
from pithnet.learn.optimizers import make_optimizer
from pithnet.learn.precision import autocast, channels_last_
from pithnet.learn.randomness import seeded
from pithnet.learn.schedules import get_schedule
from pithnet.surgery import evaluating, frozen_modules, train_
from pithnet.training import Train


@dataclass(frozen=True)
class Training(Train):
    """A training as the trainer takes it: `pithnet.training.Train`, and what a run decides.

    Args:
        precision: "float32" or "bf16"; `resolve_precision` turns "auto" into one of them before.
        objective: What is minimised.
        seed: Decides the order of a shuffled DataLoader, dropout and every other global random number: epoch
            e repeats with (seed, e).
    """

    precision: str = "float32"
    objective: Objective = field(default_factory=Objective)
    seed: int = 0


def from_scratch(epochs: int, lr: float = 0.2) -> Training:
    """Describes a training from random weights: one cycle, with a rate that no trained network could bear.

    Args:
        epochs: How often each sample is seen.
        lr: The highest learning rate.
    """
    return Training(epochs, lr=lr, schedule="one-cycle", warmup=0.2)


class StepSchedule(Protocol):
    """Something that changes the model while it trains.

    It may change values, and must not replace parameters.
    """

    def __call__(self, done: float) -> None:
        """Acts before a step; done is the share of the training, in [0, 1), and 1 once after the last."""

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on from here."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""


@runtime_checkable
class AttachedSchedule(StepSchedule, Protocol):
    """A schedule that also acts on the optimizer's steps, as a regularizer does."""

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Takes the optimizer of the training; it is called once, before the first step."""


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training came to.

    Attributes:
        epoch: The number of the epoch, from 1.
        loss: The mean loss of the training batches as they were trained on.
        accuracy: Their accuracy, in [0, 1]; None without class labels.
        lr: The learning rate of the last step.
        seconds: The wall time of the epoch.
        images: The number of samples.
    """

    epoch: int
    loss: float
    accuracy: float | None
    lr: float
    seconds: float
    images: int


class Trainer:
    """Trains `model` in place, an epoch per step of `run()`, and can be stopped and continued between epochs.

    The model is in train mode, except for what `frozen_modules` finds in it as it comes, such as frozen
    BatchNorm.

    Args:
        model: The network.
        batches: Yields what `read_batch` takes; its length gives the steps of an epoch.
        training: How the network is trained.
        teacher: Asked for logits, in eval mode, where the batches bring none.
        before_step: What is scheduled over the training, such as gradual pruning.
        on_batch: Called with (steps done, steps) of the epoch, for progress bars.

    Raises:
        RecipeError: The schedule or the optimizer is unknown.
        ModelError: No parameter of the model is trainable.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        training: Training,
        *,
        teacher: nn.Module | None = None,
        before_step: StepSchedule | None = None,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> None:
        self.model, self.batches, self.training = model, batches, training
        self.teacher, self.before_step, self.on_batch = teacher, before_step, on_batch
        self.epoch, self.frozen = 0, frozen_modules(model)
        self.factor = get_schedule(training.schedule)
        self.optimizer = make_optimizer(model, training)
        if isinstance(before_step, AttachedSchedule):
            before_step.attach(self.optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs, beside the model's state_dict, to continue without a trace."""
        state = {"epoch": self.epoch, "optimizer": self.optimizer.state_dict()}
        if self.before_step is not None:
            state["before_step"] = self.before_step.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken; the model is to be restored by the caller."""
        self.epoch = state["epoch"]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.before_step is not None:
            self.before_step.load_state_dict(state["before_step"])

    def run(self) -> Iterator[EpochRecord]:
        """Trains the epochs that are left, and yields the record of each after it.

        Raises:
            ModelError: The loss is not finite.
            DataError: The batches cannot be used.
        """
        steps = batches_per_epoch(self.batches, "the training data")
        channels_last_(self.model)
        while self.epoch < self.training.epochs:
            if hasattr(self.batches, "epoch"):
                self.batches.epoch = self.epoch
            with seeded(self.training.seed, self.epoch, self.batches):
                record = self._epoch(steps)
            self.epoch += 1
            if self.before_step and self.epoch == self.training.epochs:
                # A training of few steps may end before the last of its changes was due.
                self.before_step(1.0)
            yield record

    def _epoch(self, steps: int) -> EpochRecord:
        train_(self.model, self.frozen)
        device = next(self.model.parameters()).device
        loss_sum, correct, labelled, seen, lr = 0.0, 0, True, 0, 0.0
        start = time.perf_counter()
        for step, content in enumerate(self.batches):
            if step == steps:
                raise DataError(
                    f"the training data has length {steps} and gave more batches; repair its length"
                )
            batch = read_batch(content, device)
            lr = self._before(self.epoch + step / steps)
            outputs, loss = self._step(batch, step + 1)
            loss_sum += loss * batch.size
            seen += batch.size
            labelled = labelled and has_class_labels(outputs, batch.targets)
            if labelled:
                correct += int((logits_of(outputs).argmax(1) == batch.targets).sum())
            if self.on_batch:
                self.on_batch(step + 1, steps)
        if not seen:
            raise DataError("the training data gave no batch in an epoch; it must start anew every time")
        accuracy = correct / seen if labelled else None
        return EpochRecord(self.epoch + 1, loss_sum / seen, accuracy, lr, time.perf_counter() - start, seen)

    def _before(self, epochs_done: float) -> float:
        done = epochs_done / self.training.epochs
        lr = self.training.lr * self.factor(done, self.training.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        if self.before_step:
            self.before_step(done)
        return lr

    def _step(self, batch: Batch, number: int) -> tuple[Any, float]:
        """Outputs and loss of a step; the loss is looked at before it changes the weights."""
        device = next(self.model.parameters()).device
        with autocast(device, self.training.precision):
            outputs = self._outputs(batch)
            soft = batch.soft
            if soft is None and self.teacher is not None:
                with torch.no_grad(), evaluating(self.teacher):
                    soft = logits_of(call(self.teacher, batch.inputs)).float()
        own = self.training.objective.loss is not None
        # A loss of the user's may mix number formats, as autocast allows; ours is computed in float32.
        with autocast(device, self.training.precision if own else "float32"):
            loss = self._loss(outputs, batch, soft, number)
        value = float(loss.detach())
        if not math.isfinite(value):
            check_finite(batch, f"training batch {number}")
            raise ModelError(
                f"the training loss is {value} in epoch {self.epoch + 1}; lower the learning rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip_norm)
        self.optimizer.step()
        return outputs, value

    def _loss(self, outputs: Any, batch: Batch, soft: Tensor | None, number: int) -> Tensor:
        """The objective; what it raises over a batch names the batch."""
        try:
            return self.training.objective(outputs, batch.targets, soft)
        except DataError as e:
            raise DataError(f"training batch {number}: {e}") from None
        except (IndexError, RuntimeError, ValueError, TypeError) as e:
            if self.training.objective.loss is None:
                raise
            cause = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
            raise DataError(
                f"training batch {number}: loss(outputs, targets) fails on outputs {describe(outputs)}, "
                f"targets {describe(batch.targets)}{_extremes(batch.targets)}: {cause}"
            ) from e

    def _outputs(self, batch: Batch) -> Any:
        try:
            return call(self.model, batch.inputs)
        except ValueError as e:
            if "more than 1 value" not in str(e):
                raise
            raise DataError(
                f"BatchNorm: {e}; a batch has one sample: set drop_last=True in the loader"
            ) from None


def _extremes(targets: Any) -> str:
    """The range of integer targets, such as labels."""
    if not isinstance(targets, Tensor) or targets.is_floating_point() or not targets.numel():
        return ""
    low, high = targets.aminmax()
    return f" from {int(low)} to {int(high)}"
