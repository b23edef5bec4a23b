"""Item 1 of `lab ptq`: the smallest weights pruned, the same share of each layer or in one ranking."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import nn

from pithnet.labs.footprint import memory_bytes, times
from pithnet.labs.notebook import Row
from pithnet.labs.ptq.lab import PtqLab
from pithnet.labs.ptq.source import PRUNED
from pithnet.labs.training import accuracy_columns, rival_columns, train, zeros
from pithnet.learn import Evaluation, evaluate
from pithnet.passes import prune
from pithnet.passes.file_size import file_bytes
from pithnet.surgery import weighted_layers

EACH, GLOBAL = "each layer", "one ranking"
_SCOPES = {EACH: "uniform", GLOBAL: "global"}
_TIMES = "times of pruned networks"


@dataclass(frozen=True)
class Pruning:
    """A share of the weights to prune, the smallest of `among`: EACH layer's or all weights in GLOBAL."""

    share: float
    among: str = EACH

    @property
    def what(self) -> str:
        """The pruning's name, such as '50 %, each layer'."""
        return f"{100 * self.share:g} %, {self.among}" if self.share else "nothing pruned"

    def of(self, start: nn.Module) -> nn.Module:
        """Returns a copy of `start` with masks."""
        model = copy.deepcopy(start)
        if self.share:
            prune(model, self.share, scope=_SCOPES[self.among])
        return model


def prunings(shares: tuple[float, ...]) -> list[Pruning]:
    """Returns what item 1 measures: nothing pruned, then each share in both ways."""
    return [Pruning(0.0), *(Pruning(share, among) for among in (EACH, GLOBAL) for share in shares)]


def pruned(lab: PtqLab) -> None:
    """Measures item 1: a row for each share and way; all networks are timed in turn, untuned."""
    wanted = prunings(lab.settings.shares)
    shape = tuple(lab.images.shape[1:])
    timed = times(
        lab.book,
        _TIMES,
        {one.what: (partial(one.of, lab.start), shape) for one in wanted},
        (1,),
        lab.settings.seconds,
    )
    for one in wanted:
        lab.book.row("1", one.what, partial(_row, lab, one, timed[one.what]))


def _row(lab: PtqLab, one: Pruning, timed: Mapping[str, float]) -> Row:
    found = _measured(lab, one)
    row: Row = {
        "network": lab.bench.architecture,
        "share": one.share,
        "among": one.among if one.share else None,
        "zeros": zeros(found.model),
        "weights": sum(layer.weight.numel() for _, layer in weighted_layers(found.model)),
        "untuned": found.untuned.accuracy,
        **accuracy_columns(found.evaluation, lab.float.correct),
        **_source_columns(lab.bench.architecture, one),
    }
    if found.history:
        row |= {
            "epochs": len(found.history),
            "best_over_test_epochs": max(h["test_accuracy"] for h in found.history),
            "masks_exact": all(h["masks_exact"] for h in found.history),
        }
    if one.among == GLOBAL:
        rival = Pruning(one.share)
        row |= rival_columns(rival.what, _measured(lab, rival).evaluation.correct, found.evaluation.correct)
    return row | {"bytes": file_bytes(found.model), "memory_bytes": memory_bytes(found.model), **timed}


@dataclass(frozen=True, eq=False)
class _Measured:
    """A pruned network as it is in the end, how it was untuned, and how its training went, if it had one."""

    model: nn.Module
    untuned: Evaluation
    evaluation: Evaluation
    history: list[Row]


def _measured(lab: PtqLab, one: Pruning) -> _Measured:
    """Prunes, measures and trains; what is kept in the notebook is not measured and trained again."""
    model = one.of(lab.start)
    if not one.share:
        return _Measured(model, lab.float, lab.float, [])
    key = f"untuned {one.what}"
    saved = lab.book.load(key)
    if saved is None:
        saved = vars(evaluate(model, lab.bench.test_batches()))
        lab.book.save(key, saved)
    untuned = Evaluation(**saved)
    if lab.settings.tuning is None:
        return _Measured(model, untuned, untuned, [])
    model.requires_grad_(True)
    trained = train(lab.book, lab.bench, f"pruned {one.what}", model, lab.settings.tuning)
    return _Measured(trained.model, untuned, trained.evaluation, trained.history)


def _source_columns(architecture: str, one: Pruning) -> Row:
    """The source's accuracy beside its own networks; it prunes each layer alike, so one ranking has none."""
    if architecture not in PRUNED:
        return {}
    return {"source": PRUNED[architecture].get(one.share) if one.among == EACH else None}
