"""Models measured on a loader: accuracy, or another metric, alone or together on the same samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.errors import DataError
from pithnet.heartbeat import working
from pithnet.learn.batch import Batch, call, has_class_labels, logits_of, read_batch
from pithnet.learn.losses import Loss, check_loss
from pithnet.learn.randomness import seeded
from pithnet.learn.scores import Evaluation, Metric, Scores, accuracy, check_scores, metric_name
from pithnet.surgery import evaluating


@overload
def evaluate(
    model: nn.Module, batches: Iterable[Any], *, loss: Loss | None = ..., metric: None = ...
) -> Evaluation: ...


@overload
def evaluate(
    model: nn.Module, batches: Iterable[Any], *, loss: Loss | None = ..., metric: Metric
) -> Scores: ...


def evaluate(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    loss: Loss | None = None,
    metric: Metric | None = None,
) -> Evaluation | Scores:
    """Runs a model in eval mode over batches; the modes of its modules are put back afterwards.

    Args:
        model: The network.
        batches: (x, y), dicts with labels, or whatever else `pn.compress` takes.
        loss: (outputs, targets) -> scalar, the batch's mean; cross-entropy without one.
        metric: (outputs, targets) -> (B,), a score per sample; accuracy without one. outputs are what the
            model returned, targets what the loader gave; both on the model's device.

    Returns:
        The accuracy, or the scores of the metric.

    Raises:
        DataError: The batches have no labels for the accuracy or there are none, the metric does not give a
            finite number per sample, or the loss gives no scalar.
        ModelError: The outputs are no class logits, where there is no `metric`.
    """
    return evaluate_together([model], batches, loss=loss, metric=metric)[0]


def evaluate_together(
    models: Sequence[nn.Module],
    batches: Iterable[Any],
    *,
    loss: Loss | None = None,
    metric: Metric | None = None,
) -> list[Evaluation | Scores]:
    """Runs several models in eval mode, all of them on each batch.

    The samples are the same also where the loader shuffles or augments, so the scores can be compared in
    pairs.

    Args:
        models: Networks.
        batches: (x, y), dicts with labels, or whatever else `pn.compress` takes.
        loss: (outputs, targets) -> scalar, the batch's mean; cross-entropy without one.
        metric: (outputs, targets) -> (B,), a score per sample; accuracy without one.

    Returns:
        The result of each model, in their order.

    Raises:
        DataError: The batches have no labels for the accuracy or there are none, the metric does not give a
            finite number per sample, or the loss gives no scalar.
        ModelError: The outputs are no class logits, where there is no `metric`.
    """
    device = next((p.device for p in models[0].parameters()), torch.device("cpu"))
    tallies = [_Tally(loss, metric) for _ in models]
    # Not inference_mode: what a module caches on the way could then never be trained through.
    beat = working("evaluate", _length(batches), "batches")
    with seeded(0, batches=batches), torch.no_grad(), beat as step:
        for number, content in enumerate(batches, 1):
            batch = read_batch(content, device)
            if batch.targets is None and metric is None:
                raise DataError("accuracy needs labels, and this data has none")
            for model, tally in zip(models, tallies, strict=True):
                with evaluating(model):
                    tally.add(call(model, batch.inputs), batch, number)
            step.advance()
    return [tally.total() for tally in tallies]


def _length(batches: Iterable[Any]) -> int | None:
    try:
        return len(batches)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


class _Tally:
    """The scores and losses of one model, batch by batch."""

    def __init__(self, loss: Loss | None, metric: Metric | None) -> None:
        self.loss, self.metric = loss, metric
        self.scores: list[Tensor] = []
        self.losses: list[Tensor] = []

    def add(self, outputs: Any, batch: Batch, number: int) -> None:
        scores = (self.metric or accuracy)(outputs, batch.targets)
        self.scores.append(check_scores(scores, batch.size, metric_name(self.metric or accuracy), number))
        if self.loss is not None:
            loss = check_loss(self.loss(outputs, batch.targets))
            self.losses.append(loss.detach().float().cpu().reshape(()).expand(batch.size))
        elif self.metric is None or has_class_labels(outputs, batch.targets):
            logits, targets = logits_of(outputs).float().cpu(), batch.targets.cpu()
            self.losses.append(F.cross_entropy(logits, targets, reduction="none"))

    def total(self) -> Evaluation | Scores:
        if not self.scores:
            raise DataError("there are no images to evaluate on")
        scores = torch.cat(self.scores)
        n, whole = len(scores), len(self.losses) == len(self.scores)
        loss = float(torch.cat(self.losses).mean()) if whole else None
        if self.metric is None:
            return Evaluation(float(scores.double().mean()), n, loss, scores)
        values = scores.double()
        if bool(((values == 0) | (values == 1)).all()):
            values = values.bool()
        elif n == 1:
            raise DataError(f"{metric_name(self.metric)} on one sample has no interval; give two or more")
        return Scores(metric_name(self.metric), float(values.double().mean()), n, loss, values)
