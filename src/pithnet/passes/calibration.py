"""Unlabelled images through a network, for ranges and repairs, with an eye on how they are ordered."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import DataError, PithError
from pithnet.learn.batch import check_labels, logits_of, read_batch
from pithnet.surgery import evaluating

_BATCH = 100
_SORTED_SHARE = 0.3  # of what there is to know about a class, known from the batch
_DEVIATIONS = 5.0
_ENOUGH = 100


def images_of(calibrate: Any, device: torch.device) -> Iterator[tuple[Tensor, Any]]:
    """(images, labels or None) batch by batch, from a loader or from one tensor (N, ...), cut into hundreds.

    Raises DataError where there are none, or a batch is not one tensor of inputs.
    """
    if calibrate is None:
        raise DataError("there are no calibration images; give calibrate=, a loader or a tensor of images")
    batches = calibrate.split(_BATCH) if isinstance(calibrate, Tensor) and len(calibrate) else calibrate
    count = 0
    for content in batches:
        batch = read_batch(content, device)
        if not isinstance(batch.inputs, Tensor):
            raise DataError("calibration needs batches of one tensor of inputs, (B, ...)")
        count += batch.size
        yield batch.inputs, batch.targets
    if not count:
        raise DataError("the calibration data is empty; give calibrate= at least one batch of images")


def read_once(model: nn.Module, calibrate: Any) -> list[tuple[Tensor, Any]]:
    """All of `images_of`, on the model's device: calibration data for passes that look at it more than once.

    A loader may shuffle, augment or be empty the second time: what is compared has to see the same images in
    the same order. Raises DataError as `images_of`.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return list(images_of(calibrate, device))


@torch.no_grad()
def run_through(model: nn.Module, calibrate: Any) -> int:
    """Runs the images through the model in eval mode; returns how many.

    What hooks and observers see is theirs. Warns where batches are sorted by class, by their labels or,
    without, by the model's own answers. Raises DataError as `images_of`.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    order = Order()
    with evaluating(model):
        for images, labels in images_of(calibrate, device):
            order.add(model(images), labels)
    order.warn()
    return order.images


class Order:
    """Whether batches are sorted by class: what each tells about its images' classes; no image is kept."""

    def __init__(self) -> None:
        self.images, self.batches, self._within, self._labelled = 0, 0, 0.0, True
        self._total = torch.zeros(0, dtype=torch.float64)

    def add(self, outputs: Any, labels: Any) -> None:
        """Takes in what the model answered to a batch, and the batch's labels or None."""
        counts, labelled = _class_counts(outputs, labels)
        if counts is None or (len(self._total) and len(counts) != len(self._total)):
            return
        self._labelled &= labelled
        self._total = counts if not len(self._total) else self._total + counts
        self.images += int(counts.sum())
        self.batches += 1
        self._within += float(counts.sum()) * _entropy(counts)

    def warn(self) -> None:
        """Warns (UserWarning) where images come sorted by class, or their labels are few of the classes."""
        if self.images < _ENOUGH:
            return
        classes, entropy = len(self._total), _entropy(self._total)
        if self._labelled and classes >= 4 and math.exp(entropy) < classes / 3:
            self._say(f"show hardly more than {math.exp(entropy):.0f} of {classes} classes")
        told = entropy - self._within / self.images
        # 2 N times what a batch tells is chi-square distributed if it tells nothing.
        freedom = (self.batches - 1) * (int((self._total > 0).sum()) - 1)
        chance = freedom + _DEVIATIONS * math.sqrt(2 * freedom)
        if told > _SORTED_SHARE * entropy and 2 * self.images * told > chance:
            self._say("are sorted by class")

    def _say(self, what: str) -> None:
        warnings.warn(
            f"the {self.images} calibration images {what}; shuffle them, or ranges and repairs will fit "
            "only some of the classes",
            UserWarning,
            stacklevel=4,
        )


def _class_counts(outputs: Any, labels: Any) -> tuple[Tensor | None, bool]:
    """Images per class (K,) of a batch, None where outputs are no class logits; and whether labels say so."""
    try:
        logits = logits_of(outputs)
    except PithError:
        return None, False
    if logits.ndim != 2 or logits.shape[1] < 2:
        return None, False
    try:
        check_labels(labels, *logits.shape)
    except PithError:
        return logits.argmax(1).bincount(minlength=logits.shape[1]).double().cpu(), False
    return labels.bincount(minlength=logits.shape[1]).double().cpu(), True


def _entropy(counts: Tensor) -> float:
    """In nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log()).sum())


def first_images(calibrate: Iterable[Any] | Tensor | None, device: torch.device) -> Tensor:
    """The first batch of images. Raises DataError as `images_of`."""
    return next(images_of(calibrate, device))[0]
