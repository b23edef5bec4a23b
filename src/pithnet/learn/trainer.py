"""The training loop: SGD, a learning-rate schedule, bfloat16 where it pays, stoppable after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError
from pithnet.learn.losses import Objective
from pithnet.learn.precision import autocast
from pithnet.learn.schedules import get_schedule
from pithnet.surgery import shared_parameters


@dataclass(frozen=True)
class Training:
    """How to train: `lr` is the schedule's maximum, `warmup` the share of the training it rises in.

    precision: "float32" or "bf16" ("auto" is resolved before: `resolve_precision`).
    """

    epochs: int
    lr: float = 0.1
    schedule: str = "one-cycle"
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    precision: str = "float32"
    objective: Objective = field(default_factory=Objective)


class StepSchedule(Protocol):
    """Something that changes the model while it trains: called with the share of the training done, in [0,
    1),
    before every step, and once with 1 after the last. It may change values, not replace parameters."""

    def __call__(self, done: float) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean loss and accuracy of the training batches as they were trained on, wall time in s."""

    epoch: int
    loss: float
    accuracy: float | None
    lr: float
    seconds: float
    images: int


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters for an optimizer: weight decay on matrices and filters only.

    Biases, BN parameters and codebooks have one dimension; pulling those to zero only costs accuracy. A
    shared value's gradient is a sum over N weights, so its `lr_scale` is 1 / sqrt(N) (the balance of LSQ,
    Esser et al. 2020, section 2.2); `Trainer` multiplies every group's rate by it.
    """
    shared = {id(p): (p, n) for p, n in shared_parameters(model)}
    params = [p for p in model.parameters() if p.requires_grad and id(p) not in shared]
    decay, rest = [p for p in params if p.ndim > 1], [p for p in params if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    groups += [
        {"params": [p], "weight_decay": 0.0, "lr_scale": max(n, 1.0) ** -0.5} for p, n in shared.values()
    ]
    return [g for g in groups if g["params"]]


class Trainer:
    """Trains `model` in place, an epoch per step of `run()`, and can be stopped and continued between epochs.

    Args:
        batches: yields (x, y) or (x, y, teacher logits); its length gives the steps of an epoch.
        teacher: asked for logits where the batches bring none.
        before_step: what is scheduled over the training, such as gradual pruning.
        on_batch: called with (steps done, steps) of the epoch: for progress bars.
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
        self.epoch = 0
        self.factor = get_schedule(training.schedule)
        self.optimizer = torch.optim.SGD(
            parameter_groups(model, training.weight_decay),
            lr=training.lr,
            momentum=training.momentum,
            nesterov=training.momentum > 0,
        )

    def state_dict(self) -> dict[str, Any]:
        """All a later process needs, beside the model's state_dict, to continue as if it had not stopped."""
        state = {"epoch": self.epoch, "optimizer": self.optimizer.state_dict()}
        if self.before_step is not None:
            state["before_step"] = self.before_step.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.before_step is not None:
            self.before_step.load_state_dict(state["before_step"])

    def run(self) -> Iterator[EpochRecord]:
        """Trains the epochs that are left, yielding after each.

        Raises ModelError when the loss is not finite, DataError where the batches are none or have no length.
        """
        if not isinstance(self.batches, Sized):
            raise DataError(
                "training needs to know how many batches an epoch has; give a list or a DataLoader"
            )
        if not len(self.batches):
            raise DataError("there are no images to train on")
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        while self.epoch < self.training.epochs:
            if hasattr(self.batches, "epoch"):
                self.batches.epoch = self.epoch
            record = self._epoch(len(self.batches))
            self.epoch += 1
            if self.before_step and self.epoch == self.training.epochs:
                # A training of few steps may end before the last of its changes was due.
                self.before_step(1.0)
            yield record

    def _epoch(self, steps: int) -> EpochRecord:
        self.model.train()
        device = next(self.model.parameters()).device
        loss_sum, correct, labelled, seen, lr = torch.zeros((), device=device), 0, True, 0, 0.0
        start = time.perf_counter()
        for step, batch in enumerate(self.batches):
            x, y, soft = _parts(batch, device)
            lr = self._before(self.epoch + step / steps)
            logits, loss = self._step(x, y, soft)
            loss_sum += loss.detach() * len(x)
            seen += len(x)
            labelled = labelled and y is not None
            if y is not None:
                correct += int((logits.argmax(1) == y).sum())
            if self.on_batch:
                self.on_batch(step + 1, steps)
        mean = float(loss_sum) / max(seen, 1)
        if not math.isfinite(mean):
            raise ModelError(
                f"the training loss is {mean} in epoch {self.epoch + 1}; lower the learning rate"
            )
        accuracy = correct / seen if labelled and seen else None
        return EpochRecord(self.epoch + 1, mean, accuracy, lr, time.perf_counter() - start, seen)

    def _before(self, epochs_done: float) -> float:
        done = epochs_done / self.training.epochs
        lr = self.training.lr * self.factor(done, self.training.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        if self.before_step:
            self.before_step(done)
        return lr

    def _step(self, x: Tensor, y: Tensor | None, soft: Tensor | None) -> tuple[Tensor, Tensor]:
        with autocast(x.device, self.training.precision):
            logits = self.model(x)
            if soft is None and self.teacher is not None:
                with torch.no_grad():
                    soft = self.teacher(x).float()
        loss = self.training.objective(logits, y, soft)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return logits.detach(), loss


def _parts(
    batch: Sequence[Tensor | None], device: torch.device
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """x, labels or None, teacher logits or None of an (x, y) or (x, y, teacher logits) batch, on `device`."""
    x, y, soft = (None if b is None else b.to(device) for b in (*batch, None)[:3])
    assert x is not None
    return x, y, soft
