"""Item 6: regularizers instead of magnitude, all at one share of zeros on one schedule."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from pithnet.labs.notebook import Row
from pithnet.labs.pruning.lab import PruningLab
from pithnet.labs.pruning.settings import Penalties
from pithnet.labs.training import Trained, difference_columns
from pithnet.learn import StepSchedule
from pithnet.passes import GradualPruning, Regularization
from pithnet.surgery import weighted_layers

MAGNITUDE = "magnitude, gradual"


@dataclass(frozen=True)
class Method:
    """A row of item 6; its kind and options are those of `Regularization`."""

    what: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


def methods(p: Penalties) -> list[Method]:
    """Returns the contestants, without the baseline."""
    return [
        Method("L1 in the loss, SGD", "l1", {"how": "loss", "strength": p.l1}),
        Method("L1, proximal", "l1"),
        Method("trimmed L1, proximal", "trimmed-l1"),
        # A filter of the classifier is a class.
        Method("group lasso on filters, proximal", "group-lasso", {"strength": p.group, "skip": ("linear",)}),
        Method("DeepHoyer (Hoyer-square) in the loss", "hoyer-square", {"strength": p.hoyer}),
        Method("ADMM, keep k", "keep-k", {"how": "admm", "rho": p.rho}),
    ]


def regularized(lab: PruningLab) -> None:
    """Trains magnitude pruning and every method from one start to the target, and compares them."""
    lab.book.row("6", MAGNITUDE, lambda: lab.columns(_magnitude(lab)))
    for method in methods(lab.settings.penalties):
        lab.book.row("6", method.what, partial(_row, lab, method))


def _magnitude(lab: PruningLab) -> Trained:
    s = lab.settings
    return _train(lab, MAGNITUDE, lambda m: GradualPruning(m, s.target, ramp=s.penalties.until))


def _train(lab: PruningLab, what: str, schedule: Callable[[nn.Module], StepSchedule]) -> Trained:
    model = copy.deepcopy(lab.start)
    return lab.train(f"regularized {what}", model, lab.settings.penalties.training, schedule)


def _row(lab: PruningLab, method: Method) -> Row:
    s, p = lab.settings, lab.settings.penalties

    def schedule(model: nn.Module) -> StepSchedule:
        return Regularization(model, method.kind, sparsity=s.target, until=p.until, **method.options)

    baseline, trained = _magnitude(lab), _train(lab, method.what, schedule)
    cut = trained.history[round(p.until * p.training.epochs) - 1]
    total = sum(layer.weight.numel() for _, layer in weighted_layers(trained.model))
    versus = difference_columns(baseline.evaluation.correct, trained.evaluation.correct)
    row: Row = {"kind": method.kind, "own_sparsity": cut["zeros"] / total}
    row |= {"accuracy_before": cut["test_accuracy"], **{f"magnitude_{k}": v for k, v in versus.items()}}
    return row | lab.columns(trained)
