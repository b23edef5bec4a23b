"""Items 4 and 5: pruning step by step, each layer by itself or in one ranking over all layers."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn

from pithnet.labs.pruning.cuts import Cut, retrain
from pithnet.labs.pruning.lab import PruningLab
from pithnet.labs.training import Trained, difference_columns
from pithnet.passes import GradualPruning

Train = Callable[[], Trained]
PER_LAYER, GLOBAL = "iterative, per layer", "iterative, global"


def gradual(lab: PruningLab, scope: str) -> Trained:
    """Trains the start, pruned by equal steps before each of the first epochs until the target is reached."""
    s = lab.settings

    def schedule(model: nn.Module) -> GradualPruning:
        ramp = s.prunings / s.retrain.epochs
        return GradualPruning(model, s.target, ramp=ramp, schedule="linear", updates=s.prunings, scope=scope)

    return lab.train(f"iterative {scope}", copy.deepcopy(lab.start), s.retrain, schedule)


def iterative(lab: PruningLab) -> None:
    """Measures item 4: iterative against one-shot, each layer by itself; one-shot is trained in item 3."""
    s = lab.settings
    one_shot = Cut("percentile", s.target)
    name = f"one-shot {100 * s.target:g} %, then {s.retrain.epochs} epochs"
    lab.book.row("4", name, lambda: lab.columns(retrain(lab, one_shot)))
    _per_layer(lab)
    _compare(
        lab, "4", "iterative minus one-shot", lambda: retrain(lab, one_shot), lambda: gradual(lab, "uniform")
    )


def global_ranking(lab: PruningLab) -> None:
    """Measures item 5: one ranking over all layers, against item 4's iterative row."""
    _per_layer(lab)
    lab.book.row("5", GLOBAL, lambda: lab.columns(gradual(lab, "global")))
    _compare(
        lab, "5", "global minus per layer", lambda: gradual(lab, "uniform"), lambda: gradual(lab, "global")
    )


def _per_layer(lab: PruningLab) -> None:
    lab.book.row("4", PER_LAYER, lambda: lab.columns(gradual(lab, "uniform")))


def _compare(lab: PruningLab, item: str, what: str, a: Train, b: Train) -> None:
    lab.book.row(item, what, lambda: difference_columns(a().evaluation.correct, b().evaluation.correct))
