"""What the items of `lab fixed-point` share: the float network, and rows of what is quantized and trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from pithnet.labs.fixed_point.schemes import LEVELS, OURS, RIVALS, SOURCE, Scheme
from pithnet.labs.fixed_point.settings import Settings
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.pruned_start import PrunedFile
from pithnet.labs.teachers import NONE, untaught
from pithnet.labs.training import (
    accuracy_columns,
    float_network,
    rival_columns,
    train,
    training_columns,
    zeros,
)
from pithnet.labs.workbench import Workbench
from pithnet.learn import Evaluation, Training, evaluate
from pithnet.passes import GradualPruning, average_bits
from pithnet.surgery import weighted_layers


class FixedPointLab:
    """The float network `start` that every item begins with, and how its copies are quantized and trained.

    `levels` are those to measure, keys of LEVELS. `given` is the pruned network of item 3, None to prune one.
    """

    def __init__(
        self,
        book: Notebook,
        bench: Workbench,
        settings: Settings,
        levels: Sequence[str] = tuple(LEVELS),
        given: PrunedFile | None = None,
    ) -> None:
        self.book, self.bench, self.settings, self.levels, self.given = book, bench, settings, levels, given
        found = float_network(book, bench, settings.baseline)
        self.start, self.float = found.model, found.evaluation
        self._measured: dict[Scheme, Evaluation] = {}

    @cached_property
    def taught(self) -> Workbench:
        """The bench with the teacher's answers; they are asked for by the first training that needs them."""
        on_batch = partial(self.book.progress.batch, "answers of the teacher")
        return self.bench.taught(self.start, self.settings.views, self.book.out / "state", on_batch)

    def lessons(self, levels: str, training: Training) -> tuple[Workbench, Training]:
        """Returns batches and training of rows with these levels: only ours ever learn from the teacher."""
        return (self.taught, training) if levels == OURS else (self.bench, untaught(training))

    def rows(self, item: str, schemes: Sequence[Scheme], measure: Callable[[Scheme], Row]) -> None:
        """Measures a row of the item for each scheme whose levels are asked for."""
        for scheme in schemes:
            if scheme.levels in self.levels:
                self.book.row(item, scheme.what, partial(measure, scheme))

    def quantized(self, scheme: Scheme, base: nn.Module | None = None) -> nn.Module:
        """Returns a quantized copy of `base`, of the float network where it is None."""
        model = copy.deepcopy(self.start if base is None else base)
        scheme.apply(model)
        return model

    def untuned_row(self, scheme: Scheme) -> Row:
        """Measures rounding alone; symmetric levels stand beside those they differ from in one thing."""
        model = self.quantized(scheme)
        measured = self._evaluated(scheme, model)
        row = scheme.columns() | accuracy_columns(measured, self.float.correct) | size_columns(model)
        row |= {"shift": weight_shift(model, self.start)}
        if scheme.levels not in RIVALS:
            return row
        rival = replace(scheme, levels=RIVALS[scheme.levels])
        return row | rival_columns(rival.what, self._evaluated(rival).correct, measured.correct)

    def _evaluated(self, scheme: Scheme, model: nn.Module | None = None) -> Evaluation:
        """Of the untrained scheme, measured once."""
        if scheme not in self._measured:
            model = self.quantized(scheme) if model is None else model
            self._measured[scheme] = evaluate(model, self.bench.test_batches())
        return self._measured[scheme]

    def trained_row(self, scheme: Scheme, base: nn.Module | None = None, rival: Scheme | None = None) -> Row:
        """Trains a scheme from the float network, or from a pruned `base`, beside its rival if any."""
        key = scheme.what if base is None else f"pruned {scheme.what}"
        row, correct = self.learned(key, self.quantized(scheme, base), scheme.levels)
        return scheme.columns() | row | ({} if rival is None else self.beside(rival, correct))

    def learned(self, key: str, model: nn.Module, levels: str) -> tuple[Row, Tensor]:
        """Trains a quantized `model` in place: what its row says, and which test images are right, (n,)."""
        before = evaluate(model, self.bench.test_batches())
        bench, tuning = self.lessons(levels, self.settings.tuning)
        trained = train(self.book, bench, key, model, tuning)
        row = {"accuracy_before": before.accuracy} | accuracy_columns(trained.evaluation, self.float.correct)
        row |= training_columns(trained) | size_columns(trained.model) | teacher_columns(bench)
        return row, trained.evaluation.correct

    def beside(self, rival: Scheme, correct: Tensor) -> Row:
        """Returns what `correct` gains over the rival trained as long, which is trained only once."""
        bench, tuning = self.lessons(rival.levels, self.settings.tuning)
        theirs = train(self.book, bench, rival.what, self.quantized(rival), tuning)
        return rival_columns(rival.what, theirs.evaluation.correct, correct)

    def pruned_network(self, levels: str) -> nn.Module:
        """Returns the network that rows of these levels begin with: the file's, or one pruned here."""
        if self.given is not None:
            model = self.given.restored(self.start)
            what = f"pruned, float, from {self.given.facts['file']}"
            self.book.row("3", what, lambda: self._float_row(model))
            return model
        bench, pruning = self.lessons(levels, self.settings.pruning)
        assert self.bench.teacher is not None
        alone = levels != OURS and self.bench.teacher.kind != NONE
        key = "pruned without a teacher" if alone else "pruned"
        schedule = partial(GradualPruning, sparsity=self.settings.target, ramp=0.6)
        trained = train(self.book, bench, key, copy.deepcopy(self.start), pruning, schedule)
        more = training_columns(trained) | teacher_columns(bench)
        self.book.row("3", f"{key}, float", lambda: self._float_row(trained.model) | more)
        return trained.model

    def _float_row(self, model: nn.Module) -> Row:
        found = evaluate(model, self.bench.test_batches())
        return accuracy_columns(found, self.float.correct) | size_columns(model)

    def pictured(self) -> dict[str, Tensor]:
        """Returns the weights of the largest inner layer, float and at the most and the fewest bits."""
        inner = list(weighted_layers(self.start))[1:-1]
        largest = max(inner, key=lambda named: named[1].weight.numel())[0]
        found = {f"{largest}, float": self.start}
        for bits in (max(self.settings.trained), min(self.settings.trained)):
            for levels in (SOURCE, OURS):
                found[f"{levels}, {bits} bits"] = self.quantized(Scheme(levels, bits))
        return {what: dict(weighted_layers(m))[largest].weight.detach().cpu() for what, m in found.items()}


def size_columns(model: nn.Module) -> Row:
    """Returns bits per weight on average, how many weights there are, and how many of them are zero."""
    weights = sum(layer.weight.numel() for _, layer in weighted_layers(model))
    return {"average_bits": average_bits(model), "weights": weights, "zeros": zeros(model)}


def teacher_columns(bench: Workbench) -> Row:
    """Returns whose answers a training on the bench's batches has learnt from: self, file or none."""
    assert bench.teacher is not None
    return {"teacher": NONE if bench.soft is None else bench.teacher.kind}


@torch.no_grad()
def weight_shift(model: nn.Module, start: nn.Module) -> float:
    """Returns how far rounding moves the mean of a layer's weights, in their standard deviations.

    It is the mean of the layers that are quantized, and 0 where none is.
    """
    before, shifts = dict(weighted_layers(start)), []
    for name, layer in weighted_layers(model):
        exact = before[name].weight
        if not torch.equal(layer.weight, exact):
            shifts.append(float((layer.weight - exact).mean().abs() / exact.std()))
    return sum(shifts) / len(shifts) if shifts else 0.0
