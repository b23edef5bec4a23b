"""`lab pruning`: what magnitude pruning costs a network, one-shot, retrained, iterative and global.

Items 1 to 6: baseline; per-layer percentile and standard deviation without retraining; the same retrained;
iterative against one-shot; one ranking over all layers; regularizers instead of magnitude. No setting is
chosen on what the lab shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

from torch import nn

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.options import LabOptions
from pithnet.labs.pruning.cuts import Cut, OneShot, sparsity_columns
from pithnet.labs.pruning.page import write_results
from pithnet.labs.pruning.regularized import Contest
from pithnet.labs.pruning.settings import FULL, QUICK, Settings
from pithnet.labs.pruning.sparsity import layer_rows
from pithnet.labs.start import open_bench, open_book
from pithnet.labs.teachers import NONE
from pithnet.labs.training import (
    Trained,
    accuracy_columns,
    difference_columns,
    float_network,
    rival_columns,
    train,
    training_columns,
)
from pithnet.labs.workbench import Bench
from pithnet.passes import GradualPruning
from pithnet.run.progress import Quiet

ITEMS = ("1", "2", "3", "4", "5", "6")
TAKES = ("precision", "items", "epochs", "teacher", "device")
_DEFAULT = LabOptions()


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures items 1 to 6 and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    On ResNet-20, or the bundled digits' CNN. An item measures what it needs of earlier ones: every item the
    baseline, 3 all of item 2, and 5 the iterative training of item 4. The page names what was not measured.
    A teacher, if one is asked for, teaches every training but the baseline's.
    progress: what shows the work, as `pithnet.run.progress.reporter()`; plain lines on stderr where None.

    Raises DataError, ModelError for data and weights that cannot be used; PithError for an `out` that cannot,
    and as `LabOptions`.
    """
    options.check("pruning", TAKES)
    wanted = options.chosen(ITEMS)
    settings = (QUICK if options.quick else FULL).within(options.epochs)
    bench = open_bench(out, options, batch_size=settings.batch_size, teacher=NONE, progress=progress)
    settings = settings.taught(bench)
    lengths = {
        "baseline": 0 if options.weights else settings.baseline.epochs,
        "retraining": settings.retrain.epochs,
    }
    lengths |= {"prunings": settings.prunings, "regularized": settings.penalties.training.epochs}
    facts = {"settings": asdict(settings), "epochs": lengths}
    book = open_book("pruning", out, options, bench, facts, progress)
    lab = PruningLab(book, bench, settings)
    measures = {
        "2": lab.one_shot,
        "3": lab.retrained,
        "4": lab.iterative,
        "5": lab.global_ranking,
        "6": lab.regularized,
    }
    lab.baseline_row()
    for item, measure in measures.items():
        if item in wanted:
            measure()
    write_results(book, lab.pictured(), lab.planned())
    return book.path


class PruningLab:
    """The items, in their order; `start` is the baseline every one of them begins from."""

    def __init__(self, book: Notebook, bench: Bench, settings: Settings) -> None:
        self.book, self.bench, self.settings = book, bench, settings
        self.cuts = [Cut("percentile", q) for q in settings.quantiles]
        self.cuts += [Cut("std", s) for s in settings.deviations]
        self.baseline = float_network(book, bench, settings.baseline)
        self.start, self.float_evaluation = self.baseline.model, self.baseline.evaluation
        self.one_shots = OneShot(bench, self.start, self.float_evaluation, self.cuts)
        self.contest = Contest(book, lambda: self.taught, self.start, settings.penalties, settings.target)

    @cached_property
    def taught(self) -> Bench:
        """The bench with the teacher's answers, if there is a teacher; asked by the first training only."""
        on_batch = partial(self.book.progress.batch, "teacher")
        return self.bench.taught(self.start, self.settings.views, self.book.out / "state", on_batch)

    def planned(self) -> dict[str, list[str]]:
        """The names of the rows that each item has when it is complete."""
        return {
            "1": [self._baseline_name],
            "2": [cut.what for cut in self.one_shots.cuts],
            "3": [cut.what for cut in self.cuts],
            "4": [self._one_shot_name, "iterative, per layer", "iterative minus one-shot"],
            "5": ["iterative, global", "global minus per layer"],
            "6": self.contest.names(),
        }

    @property
    def _baseline_name(self) -> str:
        return "baseline" if self.baseline.history else "checkpoint"

    @property
    def _one_shot_name(self) -> str:
        return f"one-shot {100 * self.settings.target:g} %, then {self.settings.retrain.epochs} epochs"

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

        self.book.row("1", self._baseline_name, measure)

    def one_shot(self) -> None:
        for cut in self.one_shots.cuts:
            self.book.row("2", cut.what, partial(self.one_shots.row, cut))

    def retrained(self) -> None:
        self.one_shot()
        for cut in self.cuts:
            self.book.row("3", cut.what, partial(self._retrained, cut))

    def _retrained(self, cut: Cut) -> Row:
        before = self.book.find("2", cut.what)
        assert before is not None
        row: Row = {"method": cut.method, "value": cut.value, "accuracy_before": before["accuracy"]}
        trained = self._retrain(cut)
        rival = self._nearest_percentile(before) if cut.method == "std" and cut.value > 0 else None
        if rival is not None:
            theirs = self._retrain(rival).evaluation.correct
            row |= rival_columns(rival.what, theirs, trained.evaluation.correct)
        return row | self._trained_columns(trained)

    def _nearest_percentile(self, row: Row) -> Cut:
        """The percentile that is retrained too and whose share of zeros is nearest to the row's."""
        percentiles = [cut for cut in self.cuts if cut.method == "percentile"]
        return min(percentiles, key=lambda cut: abs(cut.value - row["sparsity"]))

    def _retrain(self, cut: Cut) -> Trained:
        model = cut.of(self.start)
        return train(self.book, self.taught, f"retrained {cut.what}", model, self.settings.retrain)

    def _trained_columns(self, trained: Trained) -> Row:
        row = accuracy_columns(trained.evaluation, self.float_evaluation.correct)
        return row | training_columns(trained) | sparsity_columns(trained.model, self.start)

    def _gradual(self, scope: str) -> Trained:
        s = self.settings

        def schedule(model: nn.Module) -> GradualPruning:
            # One update before each of the first epochs; the share rises by the same step each time.
            ramp = s.prunings / s.retrain.epochs
            return GradualPruning(
                model, s.target, ramp=ramp, schedule="linear", updates=s.prunings, scope=scope
            )

        model = copy.deepcopy(self.start)
        return train(self.book, self.taught, f"iterative {scope}", model, s.retrain, schedule)

    def _iterative_row(self) -> None:
        self.book.row("4", "iterative, per layer", lambda: self._trained_columns(self._gradual("uniform")))

    def iterative(self) -> None:
        one_shot = Cut("percentile", self.settings.target)
        # The very training of item 3, here again for the comparison.
        self.book.row("4", self._one_shot_name, lambda: self._trained_columns(self._retrain(one_shot)))
        self._iterative_row()
        self._compare(
            "4", "iterative minus one-shot", self._retrain(one_shot), lambda: self._gradual("uniform")
        )

    def global_ranking(self) -> None:
        self._iterative_row()
        self.book.row("5", "iterative, global", lambda: self._trained_columns(self._gradual("global")))
        self._compare(
            "5", "global minus per layer", self._gradual("uniform"), lambda: self._gradual("global")
        )

    def regularized(self) -> None:
        for what, trained, extra in self.contest.results():
            self.book.row("6", what, lambda t=trained, e=extra: e | self._trained_columns(t))  # type: ignore[misc]

    def _compare(self, item: str, what: str, a: Trained, b: Callable[[], Trained]) -> None:
        def measure() -> Row:
            return difference_columns(a.evaluation.correct, b().evaluation.correct)

        self.book.row(item, what, measure)

    def pictured(self) -> dict[str, nn.Module]:
        """The models whose pattern of zeros is drawn, by item: the sparsest of each way, the global one."""
        models: dict[str, nn.Module] = {}
        if self.book.of("2"):
            for cut in (Cut("percentile", self.settings.target), Cut("std", max(self.settings.deviations))):
                models[f"one-shot {cut.what}"] = cut.of(self.start)
        if self.book.of("5"):
            models["iterative, global"] = self._gradual("global").model
        return models
