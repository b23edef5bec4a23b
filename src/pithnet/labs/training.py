"""Trainings that look at every zero after every epoch, can be resumed, and what they add to a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.workbench import Workbench
from pithnet.learn import (
    EpochRecord,
    Evaluation,
    StepSchedule,
    Trainer,
    Training,
    evaluate,
    paired_difference,
)
from pithnet.run.epochs import run_epochs
from pithnet.surgery import Codebook, Mask, parametrization, restore, weighted_layers


@dataclass(frozen=True, eq=False)
class Trained:
    """A model at the last epoch of a training, and for each epoch a row with the test accuracy after it."""

    model: nn.Module
    evaluation: Evaluation
    history: list[Row]


def zero_places(model: nn.Module) -> dict[str, Tensor]:
    """Returns where masks and codebooks say zero: bool tensors by layer name."""
    places = {}
    for name, layer in weighted_layers(model):
        mask, codebook = parametrization(layer, Mask), parametrization(layer, Codebook)
        if mask is not None:
            places[name] = ~mask.mask
        elif codebook is not None:
            places[name] = codebook.index == 0
    return places


@torch.no_grad()
def exactly_zero(model: nn.Module, places: dict[str, Tensor]) -> bool:
    """Returns whether every weight at those places is +0.0, bit for bit, in the tensor of the layer."""
    layers = dict(weighted_layers(model))
    return all(not layers[name].weight.detach()[at].view(torch.int32).any() for name, at in places.items())


def train(
    book: Notebook,
    bench: Workbench,
    key: str,
    model: nn.Module,
    training: Training,
    schedule: Callable[[nn.Module], StepSchedule] | None = None,
) -> Trained:
    """Trains `model` in place and looks at the test images and at the zeros after every epoch.

    What is trained is kept under `key`: a training that finished is not repeated, one that was cut off
    goes on after its last whole epoch. Without a `schedule` the zeros of the start must all stay; with one,
    those of the masks in force.
    """
    training = replace(training, precision=bench.precision)
    state: dict[str, Any] = book.load(key) or {"history": []}
    start = zero_places(model)
    if "model" in state:
        restore(model, state["model"])
    history: list[Row] = state["history"]
    if "evaluation" in state:
        return Trained(model.eval(), Evaluation(**state["evaluation"]), history)
    before_step = schedule(model) if schedule else None
    trainer = Trainer(
        model,
        bench.training_batches(),
        training,
        before_step=before_step,
        on_batch=partial(book.progress.batch, key),
    )
    measured: list[Evaluation] = []

    def measure(record: EpochRecord) -> Row:
        measured.append(evaluate(model, bench.test_batches()))
        history.append(_epoch_row(record, measured[-1], model, zero_places(model) if schedule else start))
        return history[-1]

    def more() -> Row:
        done = len(history) == training.epochs
        return {"history": history, **({"evaluation": vars(measured[-1])} if done else {})}

    resumed = state.get("trainer")
    book.progress.begin(training.epochs, 0 if resumed is None else resumed["epoch"])
    run_epochs(
        trainer,
        book,
        title=key,
        state=more,
        file=book.state_file(key),
        resumed=resumed,
        measure=measure,
        show=book.progress,
    )
    return Trained(model.eval(), measured[-1], history)


def float_network(book: Notebook, bench: Workbench, training: Training) -> Trained:
    """Returns the network every item begins with: the bench's checkpoint, or one trained here."""
    model = bench.model()
    if bench.weights is None:
        return train(book, bench, "baseline", model, training)
    saved = book.load("checkpoint")
    if saved is None:
        saved = vars(evaluate(model, bench.test_batches()))
        book.save("checkpoint", saved)
    return Trained(model, Evaluation(**saved), [])


def _epoch_row(
    record: EpochRecord, evaluation: Evaluation, model: nn.Module, places: dict[str, Tensor]
) -> Row:
    return {
        "epoch": record.epoch,
        "loss": record.loss,
        "test_accuracy": evaluation.accuracy,
        "zeros": zeros(model),
        "masks_exact": exactly_zero(model, places),
        "seconds": record.seconds,
    }


def zeros(model: nn.Module) -> int:
    """Counts the zero weights of all convolutions and linear layers."""
    return sum(int((layer.weight == 0).sum()) for _, layer in weighted_layers(model))


def accuracy_columns(e: Evaluation, reference: Tensor | None = None) -> Row:
    """Returns accuracy (0 to 1), its 95 % interval, and the difference to `reference`, bool (n,), if any."""
    low, high = e.interval
    row: Row = {"accuracy": e.accuracy, "low": low, "high": high, "n": e.n, "loss": e.loss}
    if reference is not None:
        row |= difference_columns(reference, e.correct)
    return row


def difference_columns(reference: Tensor, correct: Tensor) -> Row:
    """Returns the points `correct` gains over `reference` on the same images, and the paired interval."""
    points, low, high = (100 * v for v in paired_difference(reference, correct))
    return {"difference": points, "difference_low": low, "difference_high": high}


def rival_columns(rival: str, theirs: Tensor, correct: Tensor) -> Row:
    """Returns `difference_columns` against another row than the reference: its name and what is gained."""
    found = difference_columns(theirs, correct)
    return {"rival": rival, **{f"rival_{key}": value for key, value in found.items()}}


def training_columns(trained: Trained) -> Row:
    """Returns what a training adds to a row: epochs, zeros after each, and whether all were exact."""
    history = trained.history
    return {
        "epochs": len(history),
        "best_over_test_epochs": max(h["test_accuracy"] for h in history),
        "masks_exact": all(h["masks_exact"] for h in history),
        "zeros_by_epoch": [h["zeros"] for h in history],
        "accuracy_by_epoch": [h["test_accuracy"] for h in history],
        "loss_by_epoch": [h["loss"] for h in history],
    }
