"""Unlabelled samples through a network, for ranges and repairs, with an eye on how they are ordered."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from pithnet.errors import DataError, PithError
from pithnet.learn.batch import call, check_labels, describe, logits_of, read_batch, tensors
from pithnet.surgery import evaluating
from pithnet.surgery.graph.inputs import one_sample

_BATCH = 100
_SORTED_SHARE = 0.3  # of what there is to know about a class, known from the batch
_DEVIATIONS = 5.0
_ENOUGH = 100


def batches_of(model: nn.Module, calibrate: Any, argument: str = "calibrate") -> Iterator[tuple[Any, Any]]:
    """Yields (inputs, labels or None) batch by batch, with inputs as `learn.call` takes them.

    Inputs are on the model's device; floating-point ones have the model's dtype.

    Args:
        model: The network that the inputs are for.
        calibrate: A loader of whatever `learn.read_batch` reads, or all samples at once: a tensor (N, ...),
            or a mapping of the model's arguments to tensors (N, ...). Samples that come at once are cut into
            batches of 100.
        argument: The name under which the user gave the data, for messages.

    Raises:
        DataError: There are no batches.
    """
    if calibrate is None:
        raise DataError(f"there are no calibration images; give {argument}=, a loader or a tensor of images")
    _require_batches(calibrate, argument)
    own = next((p for p in model.parameters() if p.is_floating_point()), None)
    count = 0
    for content in _cut(calibrate):
        batch = read_batch(content, None if own is None else own.device)
        count += batch.size
        yield _as_floats(batch.inputs, None if own is None else own.dtype), batch.targets
    if not count:
        raise DataError(f"the calibration data is empty; give {argument}= at least one batch of images")


def _require_batches(calibrate: Any, argument: str) -> None:
    """Refuses what holds no batches, with what to give instead."""
    advice = "give a loader of batches, or a tensor of samples (N, ...)"
    if isinstance(calibrate, np.ndarray):
        advice = f"give torch.from_numpy({argument})"
    elif isinstance(calibrate, Dataset) and not isinstance(calibrate, IterableDataset):
        advice = "it gives one sample at a time; wrap it as DataLoader(dataset, batch_size=100, shuffle=True)"
    elif calibrate.ndim if isinstance(calibrate, Tensor) else isinstance(calibrate, Iterable):
        return
    raise DataError(f"{argument} is {describe(calibrate)}; {advice}")


def _cut(calibrate: Any) -> Any:
    """The batches of a loader; those of one tensor or mapping of tensors, 100 samples each."""
    if isinstance(calibrate, Tensor):
        return calibrate.split(_BATCH) if calibrate.numel() else ()
    if not isinstance(calibrate, Mapping):
        return calibrate
    size = len(next(tensors(calibrate), ()))
    whole = {k: v for k, v in calibrate.items() if not isinstance(v, Tensor) or len(v) != size}
    cut = {k: v.split(_BATCH) for k, v in calibrate.items() if k not in whole}
    return [whole | dict(zip(cut, parts, strict=True)) for parts in zip(*cut.values(), strict=True)]


def _as_floats(inputs: Any, dtype: torch.dtype | None) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.to(dtype) if dtype is not None and inputs.is_floating_point() else inputs
    if isinstance(inputs, Mapping):
        return {name: _as_floats(value, dtype) for name, value in inputs.items()}
    return tuple(_as_floats(v, dtype) for v in inputs) if isinstance(inputs, tuple | list) else inputs


def read_once(model: nn.Module, calibrate: Any) -> list[tuple[Any, Any]]:
    """Returns all of `batches_of`: calibration data for passes that look at it more than once.

    A loader may shuffle, augment or be empty the second time, and what is compared has to see the same
    samples in the same order.

    Args:
        model: The network that the inputs are for.
        calibrate: As in `batches_of`.

    Raises:
        DataError: There are no batches.
    """
    return list(batches_of(model, calibrate))


@torch.no_grad()
def run_through(model: nn.Module, calibrate: Any) -> int:
    """Runs the samples through the model in eval mode, for hooks and observers, and returns their number.

    It warns (UserWarning) where batches are sorted by class: by their labels or, without labels, by the
    model's own answers.

    Args:
        model: The network that hooks and observers watch.
        calibrate: As in `batches_of`.

    Raises:
        DataError: There are no batches.
    """
    order = Order()
    with evaluating(model):
        for inputs, labels in batches_of(model, calibrate):
            order.add(call(model, inputs), labels)
    order.warn()
    return order.images


class Order:
    """A test of whether batches are sorted by class, from what each tells about its images' classes.

    It keeps no image.
    """

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
        """Warns (UserWarning) where images come sorted by class, or their labels show few of the classes."""
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


def first_sample(model: nn.Module, calibrate: Any) -> Any:
    """Returns the first sample of the first batch as `learn.call` takes inputs: a batch of one.

    Tensors whose first dimension is not the batch's size stay whole.

    Args:
        model: The network that the inputs are for.
        calibrate: As in `batches_of`.

    Raises:
        DataError: There are no batches.
    """
    inputs, _ = next(batches_of(model, calibrate))
    return one_sample(inputs)
