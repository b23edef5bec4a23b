"""The one-shot prunings of `lab pruning`: a percentile of each layer, or a number of standard deviations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from pithnet.labs.notebook import Row
from pithnet.labs.pruning.sparsity import layer_rows, structure
from pithnet.labs.training import accuracy_columns, rival_columns, zeros
from pithnet.labs.workbench import Bench
from pithnet.learn import Evaluation, evaluate
from pithnet.passes import prune, prune_by_std
from pithnet.surgery import weighted_layers


@dataclass(frozen=True)
class Cut:
    """One pruning: `method` "percentile" with the share of zeros, or "std" with the deviations.

    equal_to: the name of the cut whose zeros, all layers together, a percentile has as many of.
    """

    method: str
    value: float
    equal_to: str | None = None

    @property
    def what(self) -> str:
        if self.equal_to is not None:
            return f"{self.method} with the zeros of {self.equal_to}"
        return f"percentile q = {self.value:g}" if self.method == "percentile" else f"std s = {self.value:g}"

    def of(self, start: nn.Module) -> nn.Module:
        """A copy of `start` with masks."""
        model = copy.deepcopy(start)
        if self.method == "percentile":
            prune(model, self.value, scope="uniform")
        else:
            prune_by_std(model, self.value)
        return model


def equal_percentile(start: nn.Module, cut: Cut) -> Cut:
    """The percentile that makes as many zeros of `start`, all layers together, as `cut` does."""
    total = sum(layer.weight.numel() for _, layer in weighted_layers(start))
    return Cut("percentile", zeros(cut.of(start)) / total, cut.what)


class OneShot:
    """The rows of item 2: `start` pruned by each cut, without retraining."""

    def __init__(self, bench: Bench, start: nn.Module, float_evaluation: Evaluation, cuts: list[Cut]) -> None:
        self.bench, self.start, self.float_evaluation = bench, start, float_evaluation
        self.cuts = [*cuts, *self._equals(cuts)]

    def _equals(self, cuts: list[Cut]) -> Iterator[Cut]:
        for cut in cuts:
            if cut.method == "std" and cut.value > 0:
                yield equal_percentile(self.start, cut)

    def row(self, cut: Cut) -> Row:
        """Accuracy and sparsity; of a percentile with another cut's zeros also its gain over that cut."""
        model = cut.of(self.start)
        found = evaluate(model, self.bench.test_batches())
        row: Row = {"method": cut.method, "value": cut.value}
        row |= accuracy_columns(found, self.float_evaluation.correct)
        if cut.equal_to is not None:
            rival = next(c for c in self.cuts if c.what == cut.equal_to)
            theirs = evaluate(rival.of(self.start), self.bench.test_batches())
            row |= rival_columns(rival.what, theirs.correct, found.correct)
        return row | sparsity_columns(model, self.start)


def sparsity_columns(model: nn.Module, start: nn.Module) -> Row:
    """Zeros of all layers, of each of them, and how many kernels and filters are zero as a whole."""
    layers = layer_rows(model, start)
    total, found = sum(r["size"] for r in layers), zeros(model)
    return {
        "sparsity": found / total,
        "zeros": found,
        "weights": total,
        "structure": structure(model),
        "layers": layers,
    }
