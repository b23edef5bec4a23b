"""`lab pruning`: what magnitude pruning costs a network, one-shot, retrained, iterative and global.

Items 1 to 6: baseline; per-layer percentile and standard deviation without retraining; the same retrained;
iterative against one-shot; one ranking over all layers; regularizers instead of magnitude. No setting is
chosen on what the lab shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from pithnet.labs.bench import Bench
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.options import LabOptions
from pithnet.labs.pruning_page import write_results
from pithnet.labs.pruning_regularized import Contest, Penalties
from pithnet.labs.sparsity import layer_rows, structure
from pithnet.labs.start import open_lab
from pithnet.labs.training import (
    Trained,
    accuracy_columns,
    difference_columns,
    float_network,
    train,
    training_columns,
    zeros,
)
from pithnet.learn import Training, evaluate
from pithnet.passes import GradualPruning, prune, prune_by_std
from pithnet.run.progress import Quiet

ITEMS = ("1", "2", "3", "4", "5", "6")
TAKES = ("precision", "items", "epochs", "device")
_DEFAULT = LabOptions()


@dataclass(frozen=True)
class Settings:
    """prunings: before each of the first epochs of an iterative training; target: the last sparsity."""

    baseline: Training
    retrain: Training
    prunings: int
    penalties: Penalties
    batch_size: int
    target: float = 0.7
    quantiles: tuple[float, ...] = (0.0, 0.25, 0.3, 0.5, 0.7, 0.75)
    deviations: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)

    def within(self, epochs: int | None) -> Settings:
        """The same with that many epochs of every training but the baseline's, None for as many as it has."""
        if epochs is None:
            return self
        return replace(
            self,
            retrain=replace(self.retrain, epochs=epochs),
            prunings=min(self.prunings, max(1, epochs // 2)),
            penalties=replace(self.penalties, training=replace(self.penalties.training, epochs=epochs)),
        )


FULL = Settings(
    baseline=Training(epochs=40, lr=0.2),
    retrain=Training(epochs=20, lr=0.05, warmup=0.1),
    prunings=10,
    penalties=Penalties(Training(epochs=10, lr=0.05, warmup=0.1), 0.6, l1=1e-4, hoyer=5e-6, group=1e-4),
    batch_size=128,
)
QUICK = Settings(
    baseline=Training(epochs=8, lr=0.2),
    retrain=Training(epochs=3, lr=0.05, warmup=0.1),
    prunings=2,
    penalties=Penalties(Training(epochs=3, lr=0.05, warmup=0.1), 2 / 3, l1=1e-3, hoyer=5e-5, group=1e-3),
    batch_size=64,
)


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures items 1 to 6 and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    On ResNet-20, or the bundled digits' CNN. Item 3 needs 2, and 5 needs 4. progress: what shows the work, as
    `pithnet.run.progress.reporter()`; plain lines on stderr where None.

    Raises DataError, ModelError for data and weights that cannot be used; PithError for an `out` that cannot,
    and as `LabOptions`.
    """
    options.check("pruning", TAKES)
    wanted = options.chosen(ITEMS)
    settings = (QUICK if options.quick else FULL).within(options.epochs)
    lengths = {
        "baseline": 0 if options.weights else settings.baseline.epochs,
        "retraining": settings.retrain.epochs,
    }
    lengths |= {"prunings": settings.prunings, "regularized": settings.penalties.training.epochs}
    book, bench = open_lab(
        "pruning",
        out,
        options,
        progress=progress,
        batch_size=settings.batch_size,
        facts={"settings": asdict(settings), "epochs": lengths},
    )
    lab = PruningLab(book, bench, settings)
    measures = (
        lab.baseline_row,
        lab.one_shot,
        lab.retrained,
        lab.iterative,
        lab.global_ranking,
        lab.regularized,
    )
    for item, measure in zip(ITEMS, measures, strict=True):
        if item in wanted:
            measure()
    write_results(book, lab.pictured() if book.of("2") and book.of("5") else {})
    return book.path


@dataclass(frozen=True)
class Cut:
    """One way of item 2: `method` "percentile" with the share of zeros, or "std" with the deviations."""

    method: str
    value: float

    @property
    def what(self) -> str:
        return f"percentile q = {self.value:g}" if self.method == "percentile" else f"std s = {self.value:g}"

    def apply(self, model: nn.Module) -> None:
        """Masks `model` in place."""
        if self.method == "percentile":
            prune(model, self.value, scope="uniform")
        else:
            prune_by_std(model, self.value)


class PruningLab:
    """The items, in their order; `start` is the baseline every one of them begins from."""

    def __init__(self, book: Notebook, bench: Bench, settings: Settings) -> None:
        self.book, self.bench, self.settings = book, bench, settings
        self.cuts = [Cut("percentile", q) for q in settings.quantiles]
        self.cuts += [Cut("std", s) for s in settings.deviations]
        self.baseline = float_network(book, bench, settings.baseline)
        self.start, self.float_evaluation = self.baseline.model, self.baseline.evaluation

    def baseline_row(self) -> None:
        parameters = sum(p.numel() for p in self.start.parameters())

        def measure() -> Row:
            row = accuracy_columns(self.float_evaluation)
            row |= {"parameters": parameters, "layers": layer_rows(self.start, self.start)}
            if not self.baseline.history:
                return row
            # Nothing is pruned yet: that zeros stay says nothing here.
            columns = training_columns(self.baseline).items()
            return row | {k: v for k, v in columns if not k.startswith(("masks", "zeros"))}

        self.book.row("1", "baseline" if self.baseline.history else "checkpoint", measure)

    def one_shot(self) -> None:
        for cut in self.cuts:
            self.book.row("2", cut.what, partial(self._one_shot, cut))

    def _one_shot(self, cut: Cut) -> Row:
        model = copy.deepcopy(self.start)
        cut.apply(model)
        row: Row = {"method": cut.method, "value": cut.value}
        row |= accuracy_columns(evaluate(model, self.bench.test_batches()), self.float_evaluation.correct)
        return row | self._sparsity_columns(model)

    def _sparsity_columns(self, model: nn.Module) -> Row:
        layers = layer_rows(model, self.start)
        total = sum(r["size"] for r in layers)
        found = zeros(model)
        return {
            "sparsity": found / total,
            "zeros": found,
            "weights": total,
            "structure": structure(model),
            "layers": layers,
        }

    def retrained(self) -> None:
        for cut in self.cuts:
            self.book.row("3", cut.what, partial(self._retrained, cut))

    def _retrained(self, cut: Cut) -> Row:
        before = self.book.find("2", cut.what)
        assert before is not None
        row: Row = {"method": cut.method, "value": cut.value, "accuracy_before": before["accuracy"]}
        return row | self._trained_columns(self._retrain(cut))

    def _retrain(self, cut: Cut) -> Trained:
        model = copy.deepcopy(self.start)
        cut.apply(model)
        return train(self.book, self.bench, f"retrained {cut.what}", model, self.settings.retrain)

    def _trained_columns(self, trained: Trained) -> Row:
        row = accuracy_columns(trained.evaluation, self.float_evaluation.correct)
        return row | training_columns(trained) | self._sparsity_columns(trained.model)

    def _gradual(self, scope: str) -> Trained:
        s = self.settings

        def schedule(model: nn.Module) -> GradualPruning:
            # One update before each of the first epochs; the share rises by the same step each time.
            ramp = s.prunings / s.retrain.epochs
            return GradualPruning(
                model, s.target, ramp=ramp, schedule="linear", updates=s.prunings, scope=scope
            )

        model = copy.deepcopy(self.start)
        return train(self.book, self.bench, f"iterative {scope}", model, s.retrain, schedule)

    def iterative(self) -> None:
        s = self.settings
        one_shot = Cut("percentile", s.target)
        name = f"one-shot {100 * s.target:g} %, then {s.retrain.epochs} epochs"
        # The very training of item 3, here again for the comparison.
        self.book.row("4", name, lambda: self._trained_columns(self._retrain(one_shot)))
        self.book.row("4", "iterative, per layer", lambda: self._trained_columns(self._gradual("uniform")))
        self._compare(
            "4", "iterative minus one-shot", self._retrain(one_shot), lambda: self._gradual("uniform")
        )

    def global_ranking(self) -> None:
        self.book.row("5", "iterative, global", lambda: self._trained_columns(self._gradual("global")))
        self._compare(
            "5", "global minus per layer", self._gradual("uniform"), lambda: self._gradual("global")
        )

    def regularized(self) -> None:
        s = self.settings
        contest = Contest(self.book, self.bench, self.start, s.penalties, s.target)
        for what, trained, extra in contest.results():
            self.book.row("6", what, lambda t=trained, e=extra: e | self._trained_columns(t))  # type: ignore[misc]

    def _compare(self, item: str, what: str, a: Trained, b: Callable[[], Trained]) -> None:
        def measure() -> Row:
            return difference_columns(a.evaluation.correct, b().evaluation.correct)

        self.book.row(item, what, measure)

    def pictured(self) -> dict[str, nn.Module]:
        """The models whose pattern of zeros is drawn: the sparsest of each way, and the global one."""
        chosen = [Cut("percentile", self.settings.target), Cut("std", max(self.settings.deviations))]
        models: dict[str, nn.Module] = {}
        for cut in chosen:
            model = models[f"one-shot {cut.what}"] = copy.deepcopy(self.start)
            cut.apply(model)
        return models | {"iterative, global": self._gradual("global").model}
