"""Items 2 and 3: one-shot prunings by a percentile of each layer or by its standard deviation."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial

from torch import nn

from pithnet.labs.notebook import Row
from pithnet.labs.pruning.lab import PruningLab
from pithnet.labs.pruning.settings import Settings
from pithnet.labs.pruning.sparsity import sparsity_columns
from pithnet.labs.training import Trained, accuracy_columns, rival_columns, zeros
from pithnet.learn import evaluate
from pithnet.passes import prune, prune_by_std
from pithnet.surgery import weighted_layers


@dataclass(frozen=True)
class Cut:
    """A pruning: `method` "percentile" with the share of zeros, or "std" with the deviations.

    A percentile with `equal_to` has as many zeros in all as the cut of that name.
    """

    method: str
    value: float
    equal_to: str | None = None

    @property
    def what(self) -> str:
        """The cut's name: 'std s = 0.5'."""
        if self.equal_to is not None:
            return f"{self.method} with the zeros of {self.equal_to}"
        return f"percentile q = {self.value:g}" if self.method == "percentile" else f"std s = {self.value:g}"

    def of(self, start: nn.Module) -> nn.Module:
        """Returns a copy of `start` with masks."""
        model = copy.deepcopy(start)
        if self.method == "percentile":
            prune(model, self.value, scope="uniform")
        else:
            prune_by_std(model, self.value)
        return model


def cuts(settings: Settings) -> list[Cut]:
    """Returns the percentiles and standard deviations of the settings."""
    percentiles = [Cut("percentile", q) for q in settings.quantiles]
    return [*percentiles, *(Cut("std", s) for s in settings.deviations)]


def equal_percentile(start: nn.Module, cut: Cut) -> Cut:
    """Returns the percentile that makes as many zeros of `start`, all layers together, as `cut` does."""
    total = sum(layer.weight.numel() for _, layer in weighted_layers(start))
    return Cut("percentile", zeros(cut.of(start)) / total, cut.what)


def one_shot(lab: PruningLab) -> None:
    """Measures item 2: every cut without retraining, and the percentile with the zeros of each deviation."""
    tried = cuts(lab.settings)
    tried += [equal_percentile(lab.start, cut) for cut in tried if cut.method == "std" and cut.value > 0]
    named = {cut.what: cut for cut in tried}
    for cut in tried:
        rival = named[cut.equal_to] if cut.equal_to else None
        lab.book.row("2", cut.what, partial(_untrained, lab, cut, rival))


def _untrained(lab: PruningLab, cut: Cut, rival: Cut | None) -> Row:
    model = cut.of(lab.start)
    found = evaluate(model, lab.bench.test_batches())
    row: Row = {"method": cut.method, "value": cut.value} | accuracy_columns(found, lab.correct)
    if rival is not None:
        theirs = evaluate(rival.of(lab.start), lab.bench.test_batches())
        row |= rival_columns(rival.what, theirs.correct, found.correct)
    return row | sparsity_columns(model, lab.start)


def retrained(lab: PruningLab) -> None:
    """Measures item 3: every cut retrained. It needs the rows of item 2."""
    one_shot(lab)
    for cut in cuts(lab.settings):
        lab.book.row("3", cut.what, partial(_retrained, lab, cut))


def retrain(lab: PruningLab, cut: Cut) -> Trained:
    """Trains the start pruned by `cut` with its zeros kept."""
    return lab.train(f"retrained {cut.what}", cut.of(lab.start), lab.settings.retrain)


def _retrained(lab: PruningLab, cut: Cut) -> Row:
    before, trained = lab.book.find("2", cut.what), retrain(lab, cut)
    assert before is not None
    row: Row = {"method": cut.method, "value": cut.value, "accuracy_before": before["accuracy"]}
    if cut.method == "std" and cut.value > 0:
        percentiles = [c for c in cuts(lab.settings) if c.method == "percentile"]
        nearest = min(percentiles, key=lambda c: abs(c.value - before["sparsity"]))
        theirs = retrain(lab, nearest).evaluation.correct
        row |= rival_columns(nearest.what, theirs, trained.evaluation.correct)
    return row | lab.columns(trained)
