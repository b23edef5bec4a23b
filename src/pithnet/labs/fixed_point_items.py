"""The items of `lab fixed-point`: each a few rows, all from the same float network."""

from __future__ import annotations

import copy
from functools import cached_property, partial

from torch import Tensor, nn

from pithnet.labs.bench import Bench
from pithnet.labs.fixed_point_schemes import OURS, SOURCE, SYMMETRIC, Scheme, tuned_schemes, untuned_schemes
from pithnet.labs.fixed_point_settings import Settings
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.training import (
    accuracy_columns,
    float_network,
    rival_columns,
    train,
    training_columns,
    zeros,
)
from pithnet.learn import evaluate
from pithnet.passes import GradualPruning, average_bits
from pithnet.surgery import weighted_layers


class FixedPointLab:
    """`start` is the float network that every item begins with; its answers teach all trainings."""

    def __init__(self, book: Notebook, bench: Bench, settings: Settings) -> None:
        self.book, self.bench, self.settings = book, bench, settings
        found = float_network(book, bench, settings.baseline)
        self.start, self.float = found.model, found.evaluation
        book.row("0", "float", lambda: accuracy_columns(self.float) | size_columns(self.start))

    @cached_property
    def taught(self) -> Bench:
        """The bench with the float network's answers; they are asked for by the first training only."""
        on_batch = partial(self.book.progress.batch, "answers of the float network")
        return self.bench.taught(self.start, self.settings.views, self.book.out / "state", on_batch)

    def untuned(self) -> None:
        """Item 1: bits without training."""
        for scheme in untuned_schemes(self.settings.bits):
            self.book.row("1", scheme.what, partial(self._untuned, scheme))

    def tuned(self) -> None:
        """Item 2: the same, trained."""
        for scheme in tuned_schemes(self.settings.trained):
            self.book.row("2", scheme.what, partial(self._tuned, scheme))

    def pruned(self) -> None:
        """Item 3: quantized after pruning to `target`, beside the same bits without."""
        base = self._pruned_network()
        for levels in (OURS, SOURCE):
            for bits in self.settings.trained:
                scheme = Scheme(levels, bits)
                self.book.row("3", scheme.what, partial(self._pruned, scheme, base))

    def symmetric(self) -> None:
        """Item 4: one scale per tensor, symmetric; beside the source's levels, which are not."""
        for bits in self.settings.bits:
            scheme = Scheme(SYMMETRIC, bits)
            self.book.row("4", f"{scheme.what}, untuned", partial(self._symmetric_untuned, scheme))
        for bits in self.settings.trained:
            scheme = Scheme(SYMMETRIC, bits)
            self.book.row("4", scheme.what, partial(self._symmetric, scheme))

    def mixed(self) -> None:
        """Item 5: bits by stage."""
        for levels in (OURS, SOURCE):
            for bits in self.settings.mixed:
                scheme = Scheme(levels, bits)
                self.book.row("5", scheme.what, partial(self._tuned, scheme))

    def pictured(self) -> dict[str, Tensor]:
        """The weights of the largest inner layer, float and at the most and the fewest trained bits."""
        inner = list(weighted_layers(self.start))[1:-1]
        largest = max(inner, key=lambda named: named[1].weight.numel())[0]
        found = {f"{largest}, float": self.start}
        for bits in (max(self.settings.trained), min(self.settings.trained)):
            for levels in (SOURCE, OURS):
                found[f"{levels}, {bits} bits"] = self._quantized(Scheme(levels, bits))
        return {what: _weight(model, largest) for what, model in found.items()}

    def learned(self, key: str, model: nn.Module) -> tuple[Row, Tensor]:
        """Trains a quantized `model` in place: what its row says, and which test images are right, (n,)."""
        before = evaluate(model, self.bench.test_batches())
        trained = train(self.book, self.taught, key, model, self.settings.tuning)
        row = {"accuracy_before": before.accuracy} | accuracy_columns(trained.evaluation, self.float.correct)
        return row | training_columns(trained) | size_columns(trained.model), trained.evaluation.correct

    def beside(self, rival: Scheme, correct: Tensor) -> Row:
        """What `correct` gains over the rival trained as long, which is trained only if no row has it yet."""
        model = self._quantized(rival)
        theirs = train(self.book, self.taught, rival.what, model, self.settings.tuning)
        return rival_columns(rival.what, theirs.evaluation.correct, correct)

    def _quantized(self, scheme: Scheme, base: nn.Module | None = None) -> nn.Module:
        model = copy.deepcopy(self.start if base is None else base)
        scheme.apply(model)
        return model

    def _untuned(self, scheme: Scheme) -> Row:
        model = self._quantized(scheme)
        measured = evaluate(model, self.bench.test_batches())
        return scheme.columns() | accuracy_columns(measured, self.float.correct) | size_columns(model)

    def _tuned(self, scheme: Scheme) -> Row:
        return scheme.columns() | self.learned(scheme.what, self._quantized(scheme))[0]

    def _pruned(self, scheme: Scheme, base: nn.Module) -> Row:
        row, correct = self.learned(f"pruned {scheme.what}", self._quantized(scheme, base))
        return scheme.columns() | row | self.beside(scheme, correct)

    def _symmetric(self, scheme: Scheme) -> Row:
        row, correct = self.learned(scheme.what, self._quantized(scheme))
        return scheme.columns() | row | self.beside(Scheme(SOURCE, scheme.bits), correct)

    def _symmetric_untuned(self, scheme: Scheme) -> Row:
        rival = Scheme(SOURCE, scheme.bits)
        model = self._quantized(scheme)
        measured = evaluate(model, self.bench.test_batches())
        theirs = evaluate(self._quantized(rival), self.bench.test_batches())
        row = scheme.columns() | accuracy_columns(measured, self.float.correct) | size_columns(model)
        return row | rival_columns(rival.what, theirs.correct, measured.correct)

    def _pruned_network(self) -> nn.Module:
        """The float network with `target` zeros, trained."""

        def schedule(model: nn.Module) -> GradualPruning:
            return GradualPruning(model, self.settings.target, ramp=0.6)

        trained = train(
            self.book, self.taught, "pruned", copy.deepcopy(self.start), self.settings.pruning, schedule
        )

        def measure() -> Row:
            row = accuracy_columns(trained.evaluation, self.float.correct) | training_columns(trained)
            return row | size_columns(trained.model)

        self.book.row("3", "pruned, float", measure)
        return trained.model


def _weight(model: nn.Module, name: str) -> Tensor:
    return dict(weighted_layers(model))[name].weight.detach()


def size_columns(model: nn.Module) -> Row:
    """Bits per weight on average, and zeros."""
    return {"average_bits": average_bits(model), "zeros": zeros(model)}
