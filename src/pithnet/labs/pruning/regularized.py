"""Item 6 of `lab pruning`: regularizers instead of magnitude, all at one share of zeros on one schedule."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.training import Trained, difference_columns, train
from pithnet.labs.workbench import Bench
from pithnet.learn import StepSchedule, Training
from pithnet.passes import GradualPruning, Regularization
from pithnet.surgery import weighted_layers

MAGNITUDE = "magnitude, gradual"


@dataclass(frozen=True)
class Penalties:
    """How item 6 trains: the regularizers act over the first `until`, then the mask is drawn.

    The proximal methods of single weights find their strengths by counting zeros; l1 (in the loss), hoyer and
    group are those of the others, rho is ADMM's. None is chosen on what the lab shows.
    """

    training: Training
    until: float
    l1: float
    hoyer: float
    group: float
    rho: tuple[float, float] = (1e-3, 1e-1)


@dataclass(frozen=True)
class Method:
    """A row of item 6; options as in `Regularization`."""

    what: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


def methods(p: Penalties) -> list[Method]:
    """The contestants, without the baseline."""
    return [
        Method("L1 in the loss, SGD", "l1", {"how": "loss", "strength": p.l1}),
        Method("L1, proximal", "l1"),
        Method("trimmed L1, proximal", "trimmed-l1"),
        # A filter of the classifier is a class.
        Method("group lasso on filters, proximal", "group-lasso", {"strength": p.group, "skip": ("linear",)}),
        Method("DeepHoyer (Hoyer-square) in the loss", "hoyer-square", {"strength": p.hoyer}),
        Method("ADMM, keep k", "keep-k", {"how": "admm", "rho": p.rho}),
    ]


class Contest:
    """Trains the methods of item 6 from one start to `target` zeros. bench: called before each training."""

    def __init__(
        self,
        book: Notebook,
        bench: Callable[[], Bench],
        start: nn.Module,
        penalties: Penalties,
        target: float,
    ) -> None:
        self.book, self.bench, self.start = book, bench, start
        self.penalties, self.target = penalties, target

    def names(self) -> list[str]:
        """Of the rows, in their order."""
        return [MAGNITUDE, *(method.what for method in methods(self.penalties))]

    def results(self) -> Iterator[tuple[str, Trained, Row]]:
        """Each method's name, training, and what this item adds to its row; the baseline first."""
        baseline = self._train(MAGNITUDE, self._gradual)
        yield MAGNITUDE, baseline, {}
        p = self.penalties
        for method in methods(p):
            trained = self._train(method.what, partial(self._regularization, method))
            cut = trained.history[round(p.until * p.training.epochs) - 1]
            total = sum(layer.weight.numel() for _, layer in weighted_layers(trained.model))
            versus = difference_columns(baseline.evaluation.correct, trained.evaluation.correct)
            row: Row = {"kind": method.kind, "own_sparsity": cut["zeros"] / total}
            row |= {"accuracy_before": cut["test_accuracy"]}
            yield method.what, trained, row | {f"magnitude_{k}": v for k, v in versus.items()}

    def _train(self, what: str, schedule: Any) -> Trained:
        model = copy.deepcopy(self.start)
        return train(self.book, self.bench(), f"regularized {what}", model, self.penalties.training, schedule)

    def _gradual(self, model: nn.Module) -> StepSchedule:
        return GradualPruning(model, self.target, ramp=self.penalties.until)

    def _regularization(self, method: Method, model: nn.Module) -> StepSchedule:
        return Regularization(
            model, method.kind, sparsity=self.target, until=self.penalties.until, **method.options
        )
