"""A batch of any loader: what the model is called with, and what its output is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError, PithError
from pithnet.surgery.graph.inputs import call_arguments
from pithnet.surgery.graph.inputs import tensors as tensors  # one of this module's own functions, too

LABELS = ("labels", "label", "y")


@dataclass(frozen=True)
class Batch:
    """The parts of a batch.

    Attributes:
        inputs: A tensor, a tuple of arguments or a dict of them, see `call`.
        targets: Labels or whatever the loss compares with, None where there are none.
        soft: Teacher logits (B, classes), or None.
        size: B.
    """

    inputs: Any
    targets: Any
    soft: Tensor | None
    size: int


def read_batch(batch: Any, device: torch.device | None = None) -> Batch:
    """Returns what stands in a loader's batch.

    Args:
        batch: A tuple or list (x,), (x, y) or (x, y, teacher logits), where y may be None; a mapping that
            holds the labels under "labels", "label" or "y", if any, and inputs under its other keys; or a
            tensor, which is x alone. x itself may be a tensor, a tuple or list of the model's arguments, or a
            mapping of them.
        device: Where its tensors go; None leaves them.

    Raises:
        DataError: The batch is anything else, or x has no tensor.
    """
    if isinstance(batch, Mapping):
        inputs = {k: v for k, v in batch.items() if k not in LABELS}
        targets = next((batch[k] for k in LABELS if k in batch), None)
        parts: tuple[Any, ...] = (inputs, targets, None)
    elif isinstance(batch, Tensor):
        parts = (batch, None, None)
    elif isinstance(batch, tuple | list) and 1 <= len(batch) <= 3:
        parts = (*batch, None, None)[:3]
    else:
        parts_of = f" of {len(batch)} parts" if isinstance(batch, tuple | list) else ""
        raise DataError(
            f"a batch is a {type(batch).__name__}{parts_of}; yield (x, y), (x, y, teacher logits), x alone, "
            "or a dict of inputs and labels"
        )
    inputs, targets, soft = (_to(part, device) for part in parts)
    first = next(tensors(inputs), None)
    if first is None or not first.ndim:
        raise DataError(f"a batch holds no tensor of inputs but {describe(inputs)}; yield tensors (B, ...)")
    return Batch(inputs, targets, soft, len(first))


def call(model: nn.Module, inputs: Any) -> Any:
    """Returns the model's output.

    Args:
        model: The network.
        inputs: A tensor x, for model(x); a tuple or list, for model(*x); or a mapping, for model(**x).
    """
    args, named = call_arguments(inputs)
    return model(*args, **named)


def logits_of(output: Any) -> Tensor:
    """Returns the logits in a model's output.

    They are the output itself, its `.logits` or ["logits"], or a tuple's first part.

    Raises:
        ModelError: The output holds no tensor in any of these places.
    """
    found = output
    if isinstance(output, Mapping):
        found = output.get("logits")
    elif not isinstance(output, Tensor):
        found = getattr(output, "logits", None)
        if found is None and isinstance(output, tuple | list) and output:
            found = output[0]
    if not isinstance(found, Tensor):
        raise ModelError(
            f"the model returns {describe(output)}, in which no logits are to be found; give loss= and "
            "metric=, functions of (outputs, targets), or return the logits"
        )
    return found


def check_logits(output: Any) -> Tensor:
    """Returns the class logits in a model's output, float (B, C >= 2).

    Raises:
        ModelError: The output holds no float logits of two classes or more.
    """
    logits = logits_of(output)
    if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        raise ModelError(
            f"class logits are float (B, classes), and the model returns {describe(logits)}; for another "
            "task give loss= and metric=, functions of (outputs, targets)"
        )
    return logits


def check_labels(targets: Any, size: int, classes: int) -> None:
    """Checks that targets are class indexes.

    Args:
        targets: What a loader gave.
        size: B.
        classes: How many classes the model has.

    Raises:
        DataError: The targets are not int64 (size,), or not from 0 to classes - 1.
    """
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.shape != (size,):
        raise DataError(
            f"labels are class indexes, int64 ({size},), and these are {describe(targets)}; convert them "
            "(.long(), .squeeze(1), .argmax(1)), or for another task give loss= and metric="
        )
    low, high = (int(v) for v in targets.aminmax()) if size else (0, 0)
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise DataError(
            f"the model has {classes} classes, and a label is {wrong}; labels are from 0 to {classes - 1}"
        )


def has_class_labels(output: Any, targets: Any) -> bool:
    """Tells whether the output holds class logits and the targets are their labels.

    Args:
        output: What the model returned.
        targets: What the loader gave.
    """
    try:
        check_labels(targets, *check_logits(output).shape)
    except PithError:
        return False
    return True


def check_finite(batch: Batch, where: str) -> None:
    """Checks that inputs and targets are finite.

    Args:
        batch: The batch.
        where: What the message calls it.

    Raises:
        DataError: An input or a target is NaN or inf.
    """
    for what, value in (("inputs", batch.inputs), ("targets", batch.targets)):
        if any(t.is_floating_point() and not bool(torch.isfinite(t).all()) for t in tensors(value)):
            raise DataError(f"the {what} of {where} hold NaN or inf; repair the data")


def describe(value: Any) -> str:
    """Returns kind, dtypes and shapes in a few words, for messages."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {describe(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(describe, value)) + ")"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}" if value is not None else "None"


def _to(value: Any, device: torch.device | None) -> Any:
    if isinstance(value, Tensor):
        return value if device is None else value.to(device)
    if isinstance(value, Mapping):
        return {k: _to(v, device) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_to(v, device) for v in value)
    return value
