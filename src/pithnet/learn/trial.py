"""The first batch, tried before anything is trained: what would fail later is said now, and by name."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.errors import DataError, ModelError, PithError
from pithnet.learn.batch import (
    Batch,
    call,
    check_finite,
    check_labels,
    check_logits,
    describe,
    logits_of,
    read_batch,
    tensors,
)
from pithnet.learn.loaders import first_batch, smallest_batch
from pithnet.learn.losses import Loss, check_loss
from pithnet.learn.randomness import seeded
from pithnet.learn.scores import Metric, accuracy, check_scores, metric_name
from pithnet.surgery import evaluating, frozen_modules, train_


def try_training(
    model: nn.Module, loader: Iterable[Any], loss: Loss | None = None, teacher: nn.Module | None = None
) -> Batch:
    """Checks by a forward pass in eval mode that a model can be trained on a loader.

    A loss that fails on what the model gives in eval mode is tried once more in train mode, in which a
    detection network returns its losses, say; a copy of the model runs then.

    Args:
        model: The network.
        loader: Yields batches.
        loss: (outputs, targets) -> scalar; cross-entropy without one.
        teacher: A network whose logits are compared with, or None.

    Returns:
        The first batch.

    Raises:
        DataError: The loader is empty or can be read only once, inputs are NaN, labels are none, the model or
            the loss cannot take the batch, or there is a single sample where BatchNorm needs two.
        ModelError: No weight can be trained, outputs are no class logits where there is no `loss`, or the
            teacher's logits have another shape.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError("no weight of the model can be trained: every one has requires_grad=False")
    batch = first_batch(loader, "train", _device(model))
    with _named("train"):
        check_finite(batch, "the first batch")
        outputs = _outputs(model, batch)
        if loss is not None:
            _try_loss(model, loss, outputs, batch)
        else:
            logits = check_logits(outputs)
            if batch.targets is not None:
                check_labels(batch.targets, *logits.shape)
        _check_single_sample(model, loader, batch)
    answers = {} if batch.soft is None else {"the teacher logits in train": batch.soft}
    if teacher is not None:
        answers["the teacher"] = logits_of(_outputs(teacher, batch, "the teacher"))
    for name, answer in answers.items():
        if answer.shape != check_logits(outputs).shape:
            raise ModelError(
                f"{name}: {describe(answer)} for the model's {describe(logits_of(outputs))}; distillation "
                "needs the same classes"
            )
    return batch


def try_measuring(
    model: nn.Module, loader: Iterable[Any], loss: Loss | None = None, metric: Metric | None = None
) -> bool:
    """Checks that a metric can be measured: reads the whole loader, and runs the first batch.

    A bad batch at the end would else be found when the training is over.

    Args:
        model: The network.
        loader: Yields batches.
        loss: (outputs, targets) -> scalar; cross-entropy without one.
        metric: (outputs, targets) -> (B,); accuracy without one.

    Returns:
        Whether the loss can be measured too: it cannot where only train mode gives what it needs.

    Raises:
        DataError: The loader or a batch cannot be used, or the accuracy finds no labels.
        ModelError: The outputs are no class logits, where there is no `metric`.
    """
    batch = first_batch(loader, "val", _device(model))
    with _named("val"):
        _check_measurable(batch, metric, 1)
        outputs = _outputs(model, batch)
        measurable = loss is None or _in_eval_mode(model, loss, outputs, batch)
        scores = _tried("the metric", metric or accuracy, outputs, batch)
        check_scores(scores, batch.size, metric_name(metric or accuracy), 1)
        with seeded(0, batches=loader):
            for number, content in enumerate(loader, 1):
                other = read_batch(content)
                _check_measurable(other, metric, number)
                if metric is None:
                    check_labels(other.targets, other.size, check_logits(outputs).shape[1])
    return measurable


def _check_measurable(batch: Batch, metric: Metric | None, number: int) -> None:
    if batch.targets is None and metric is None:
        raise DataError(
            "accuracy needs labels, and the test data has none; leave it out, give labels, or give metric="
        )
    check_finite(batch, f"batch {number}")


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _outputs(model: nn.Module, batch: Batch, who: str = "the model") -> Any:
    """Returns the model's outputs with gradients, because a loss is tried on them."""
    with evaluating(model):
        return _called(model, batch, who)


def _called(model: nn.Module, batch: Batch, who: str) -> Any:
    try:
        with seeded(0):
            return call(model, batch.inputs)
    except Exception as e:  # whatever a user's module raises
        mine = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
        theirs = {t.dtype for t in tensors(batch.inputs) if t.is_floating_point()} - {mine}
        hint = f"; its weights are {_short(mine)}, convert the inputs" if theirs and mine else ""
        raise DataError(
            f"{who} cannot take the first batch, {describe(batch.inputs)}: {_first_line(e)}{hint}"
        ) from None


def _tried(name: str, function: Callable[[Any, Any], Any], outputs: Any, batch: Batch) -> Any:
    try:
        with warnings.catch_warnings():
            # (B, 1) against (B,) broadcasts to (B, B): torch only warns, and the loss means nothing.
            warnings.filterwarnings("error", message="Using a target size")
            return function(outputs, batch.targets)
    except PithError:
        raise
    except Exception as e:  # whatever a user's function raises
        hint = "; the loader gives no targets, yield (x, y)" if batch.targets is None else ""
        raise DataError(
            f"{name} fails on the first batch, outputs {describe(outputs)}, targets "
            f"{describe(batch.targets)}: {_first_line(e)}{hint}"
        ) from None


def _try_loss(model: nn.Module, loss: Loss, outputs: Any, batch: Batch) -> None:
    """Tries a loss on the outputs of eval mode, else of train mode, where they are of another kind."""
    try:
        _check_gradient(loss, outputs, batch)
    except DataError:
        trained = _outputs_in_training(model, batch)
        if describe(trained) == describe(outputs):
            raise
        _check_gradient(loss, trained, batch)


def _in_eval_mode(model: nn.Module, loss: Loss, outputs: Any, batch: Batch) -> bool:
    """Tells whether the loss takes the outputs of eval mode, and raises where it takes no others either."""
    try:
        check_loss(_tried("loss(outputs, targets)", loss, outputs, batch))
    except DataError:
        trained = _outputs_in_training(model, batch)
        if describe(trained) == describe(outputs):
            raise
        check_loss(_tried("loss(outputs, targets)", loss, trained, batch))
        return False
    return True


def _outputs_in_training(model: nn.Module, batch: Batch) -> Any:
    """Returns a copy's outputs in train mode, in which every batch moves the statistics of BatchNorm, say."""
    copied = copy.deepcopy(model)
    train_(copied, frozen_modules(copied))
    return _called(copied, batch, "the model")


def _check_gradient(loss: Loss, outputs: Any, batch: Batch) -> None:
    value = check_loss(_tried("loss(outputs, targets)", loss, outputs, batch))
    if not value.requires_grad:
        raise DataError("loss(outputs, targets) has no gradient; compute it from outputs, with torch alone")
    if not bool(torch.isfinite(value)):
        raise DataError(f"loss(outputs, targets) is {float(value.detach())} on the first batch")


def _check_single_sample(model: nn.Module, loader: Iterable[Any], batch: Batch) -> None:
    if smallest_batch(loader) != 1 or not any(isinstance(m, _BatchNorm) for m in model.modules()):
        return
    try:
        with seeded(0), torch.no_grad():
            trained = copy.deepcopy(model)
            train_(trained, frozen_modules(trained))
            call(trained, _one_sample(batch.inputs))
    except ValueError as e:
        raise DataError(
            f"a batch has one sample, and BatchNorm cannot train on it ({e}); set drop_last=True or choose "
            "another batch size"
        ) from None


def _one_sample(inputs: Any) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[:1]
    if isinstance(inputs, dict):
        return {k: _one_sample(v) for k, v in inputs.items()}
    return tuple(_one_sample(v) for v in inputs) if isinstance(inputs, tuple) else inputs


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Lets errors within say which data they are about."""
    try:
        yield
    except PithError as e:
        raise type(e)(f"{what}: {e}") from None


def _first_line(e: Exception) -> str:
    return f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else ''}".rstrip(": ")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
