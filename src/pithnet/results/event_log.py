"""events.jsonl: what a run did, epoch by epoch and pass by pass."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


class Epoch(BaseModel):
    """One epoch of training.

    Attributes:
        number: The step that it belongs to, from 0.
        step: The name of that step.
        epoch: Its number in the step, from 1.
        loss: The mean loss of the training batches.
        accuracy: Their accuracy, in [0, 1]; None without class labels.
        lr: The learning rate at its end.
        sparsity: The share of zeros after it, in [0, 1].
        seconds: Its wall time.
        images: The number of samples.
    """

    number: int = 0
    step: str = "train"
    epoch: int
    loss: float
    accuracy: float | None = None
    lr: float | None = None
    sparsity: float | None = None
    seconds: float = 0.0
    images: int = 0


class Layer(BaseModel):
    """What a pass did to one layer: its weights, how many are zero, and on how many levels the others are."""

    name: str
    size: int
    zeros: int
    levels: int | None = None


class Pass(BaseModel):
    """What a pass did in step `number`, after `epochs_before` epochs of the whole run."""

    number: int = 0
    what: str
    layers: list[Layer] = []
    epochs_before: int = 0


@dataclass(frozen=True)
class EventLog:
    """What events.jsonl says, in order.

    Attributes:
        epochs: The epochs of all steps.
        passes: What the passes did.
        remarks: What the run said of its recipe's decisions, each once.
        unreadable: The number of broken lines.
    """

    epochs: tuple[Epoch, ...] = ()
    passes: tuple[Pass, ...] = ()
    remarks: tuple[str, ...] = ()
    unreadable: int = 0


def read_events(text: str) -> EventLog:
    """Reads the log's epochs and passes; of what a stopped and resumed run logged twice, the later one.

    A run killed while it wrote leaves a broken line; the rest of the log is good, so it is only counted.
    """
    epochs: dict[tuple[int, int], Epoch] = {}
    passes: dict[tuple[int, str], Pass] = {}
    remarks: dict[str, None] = {}  # in order, each once
    unreadable = 0
    for line in filter(None, text.splitlines()):
        try:
            event: Any = json.loads(line)
            kind = event["event"]
            if kind == "epoch":
                epoch = Epoch.model_validate(event)
                epochs[epoch.number, epoch.epoch] = epoch
            elif kind == "pass":
                done = Pass.model_validate(event)
                done.epochs_before = len(epochs)
                passes[done.number, done.what] = done
            elif kind == "remark":
                remarks[str(event["text"])] = None
        except (ValueError, TypeError, KeyError):
            unreadable += 1
    in_order = sorted(passes.values(), key=lambda p: (p.number, p.epochs_before))
    return EventLog(tuple(epochs[key] for key in sorted(epochs)), tuple(in_order), tuple(remarks), unreadable)
