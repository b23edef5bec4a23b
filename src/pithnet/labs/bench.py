"""The model and the data of a lab, and trainings on them that are checked after every epoch and can be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pithnet import zoo
from pithnet.data import DATASETS, NORMALIZATIONS, ArrayData, Augmentation, Batches, Normalization, load
from pithnet.errors import DataError, nearest
from pithnet.labs.notebook import Notebook, Row
from pithnet.learn import Evaluation, StepSchedule, Trainer, Training, evaluate, paired_difference
from pithnet.surgery import Codebook, Mask, parametrization, restore, weighted_layers

ARCHITECTURES = {"cifar10": "resnet20", "digits": "digits-cnn"}
# A flipped digit is no digit, and 8 pixels leave no room to crop 4.
AUGMENTATIONS = {"cifar10": Augmentation(), "digits": Augmentation(pad=1, flip=False)}
_EVALUATION_BATCH = 500


@dataclass(frozen=True, eq=False)
class Bench:
    """A zoo network and the images it is measured on. `weights`: a checkpoint to start from, None to train one."""

    architecture: str
    dataset: str
    normalization: Normalization
    train: ArrayData
    test: ArrayData
    batch_size: int
    seed: int
    weights: Path | None = None

    @classmethod
    def open(
        cls, data: str, data_root: Path | None, weights: Path | None, batch_size: int, seed: int
    ) -> Bench:
        """Loads the data. Raises DataError for a data set the labs have no network for, and as `data.load`."""
        if data not in ARCHITECTURES:
            raise DataError(f"the labs do not run on {data!r}.{nearest(data, ARCHITECTURES)}")
        name = DATASETS[data].normalization
        if weights is not None and zoo.has_module_prefix(weights):
            name = "imagenet"  # the public checkpoints were trained on images normalised so
        return cls(
            ARCHITECTURES[data],
            data,
            NORMALIZATIONS[name],
            load(data, data_root, "train"),
            load(data, data_root, "test"),
            batch_size,
            seed,
            weights,
        )

    def model(self) -> nn.Module:
        """The network with the checkpoint's weights, or seeded fresh ones."""
        torch.manual_seed(self.seed)
        if self.weights is not None:
            return zoo.load(self.architecture, self.weights)
        return zoo.build(self.architecture)

    def training_batches(self) -> Batches:
        """All training images, shuffled, cropped and flipped."""
        return Batches(
            self.train,
            self.batch_size,
            self.normalization,
            augmentation=AUGMENTATIONS[self.dataset],
            shuffle=True,
            seed=self.seed,
        )

    def test_batches(self) -> Batches:
        return Batches(self.test, _EVALUATION_BATCH, self.normalization)

    def choice_batches(self) -> Batches:
        """A tenth of the training images as they are: what choices are made on, never the test images."""
        _, held_out = self.train.split(len(self.train) // 10, self.seed)
        return Batches(held_out, _EVALUATION_BATCH, self.normalization)

    def facts(self) -> Row:
        """What results.json says of it; a checkpoint by name and sha256."""
        weights = None
        if self.weights is not None:
            digest = hashlib.sha256(self.weights.read_bytes()).hexdigest()[:16]
            weights = {"file": self.weights.name, "sha256": digest}
        return {
            "architecture": self.architecture,
            "dataset": self.dataset,
            "weights": weights,
            "train_images": len(self.train),
            "test_images": len(self.test),
            "seeds": [self.seed],
        }


@dataclass(frozen=True, eq=False)
class Trained:
    """A model at the last epoch of a training. history: a row per epoch, with the test accuracy after it."""

    model: nn.Module
    evaluation: Evaluation
    history: list[Row]


def zero_places(model: nn.Module) -> dict[str, Tensor]:
    """Where masks and codebooks say zero: bool tensors by layer name."""
    places = {}
    for name, layer in weighted_layers(model):
        mask, codebook = parametrization(layer, Mask), parametrization(layer, Codebook)
        if isinstance(mask, Mask):
            places[name] = ~mask.mask
        elif isinstance(codebook, Codebook):
            places[name] = codebook.index == 0
    return places


@torch.no_grad()
def exactly_zero(model: nn.Module, places: dict[str, Tensor]) -> bool:
    """Whether every weight at those places is +0.0, bit for bit, in the tensor the layer computes with."""
    layers = dict(weighted_layers(model))
    return all(not layers[name].weight.detach()[at].view(torch.int32).any() for name, at in places.items())


def train(
    book: Notebook,
    bench: Bench,
    key: str,
    model: nn.Module,
    training: Training,
    schedule: Callable[[nn.Module], StepSchedule] | None = None,
) -> Trained:
    """Trains `model` in place and looks at the test images and at the zeros after every epoch.

    What is trained is kept under `key`: a training that finished is not repeated, one that was cut off goes on
    after its last whole epoch. Without a `schedule` the zeros of the start must all stay; with one, those of the
    masks in force.
    """
    state: dict[str, Any] = book.load(key) or {"history": []}
    start = zero_places(model)
    if "model" in state:
        restore(model, state["model"])
    history: list[Row] = state["history"]
    trainer = Trainer(
        model, bench.training_batches(), training, before_step=schedule(model) if schedule else None
    )
    if "trainer" in state:
        trainer.load_state_dict(state["trainer"])
    trainer.on_batch = _bar(book, key, trainer)
    for record in trainer.run() if "evaluation" not in state else ():
        evaluation = evaluate(model, bench.test_batches())
        places = zero_places(model) if schedule else start
        history.append(
            {
                "epoch": record.epoch,
                "loss": record.loss,
                "test_accuracy": evaluation.accuracy,
                "zeros": zeros(model),
                "masks_exact": exactly_zero(model, places),
                "seconds": record.seconds,
            }
        )
        state = {"model": model.state_dict(), "trainer": trainer.state_dict(), "history": history}
        if record.epoch == training.epochs:
            state = {"model": model.state_dict(), "history": history, "evaluation": vars(evaluation)}
        book.save(key, state)
        book.say(
            f"{key}: epoch {record.epoch}/{training.epochs}, loss {record.loss:.4f}, {record.seconds:.1f} s"
        )
    return Trained(model.eval(), Evaluation(**state["evaluation"]), history)


def _bar(book: Notebook, key: str, trainer: Trainer) -> Callable[[int, int], None] | None:
    progress = book.progress
    if progress is None:
        return None
    return lambda done, n: progress(key, trainer.epoch * n + done, trainer.training.epochs * n)


def zeros(model: nn.Module) -> int:
    """Zero weights of all convolutions and linear layers."""
    return sum(int((layer.weight == 0).sum()) for _, layer in weighted_layers(model))


def accuracy_columns(e: Evaluation, reference: Tensor | None = None) -> Row:
    """Accuracy (0 to 1) with its 95 % interval; difference to `reference`, bool (n,), in points with its interval."""
    low, high = e.interval
    row: Row = {"accuracy": e.accuracy, "low": low, "high": high, "n": e.n, "loss": e.loss}
    if reference is not None:
        row |= difference_columns(reference, e.correct)
    return row


def difference_columns(reference: Tensor, correct: Tensor) -> Row:
    """Points that `correct` gains over `reference` on the same images, and the paired 95 % interval."""
    points, low, high = (100 * v for v in paired_difference(reference, correct))
    return {"difference": points, "difference_low": low, "difference_high": high}


def training_columns(trained: Trained) -> Row:
    """What a training adds to a row: epochs, the zeros after each, and whether each zero was exact each time."""
    history = trained.history
    return {
        "epochs": len(history),
        "best_over_test_epochs": max(h["test_accuracy"] for h in history),
        "masks_exact": all(h["masks_exact"] for h in history),
        "zeros_by_epoch": [h["zeros"] for h in history],
        "accuracy_by_epoch": [h["test_accuracy"] for h in history],
        "loss_by_epoch": [h["loss"] for h in history],
    }
