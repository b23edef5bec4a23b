"""`lab pruning`: what pruning costs a network: one-shot, retrained, iterative, global and in structures."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pithnet.labs.columns import ACCURACY, POINTS
from pithnet.labs.experiment import Experiment, Item, Table, named
from pithnet.labs.options import LabOptions
from pithnet.labs.pruning import figures as draw
from pithnet.labs.pruning.cuts import Cut, one_shot, retrained
from pithnet.labs.pruning.lab import PruningLab, baseline_row
from pithnet.labs.pruning.regularized import regularized
from pithnet.labs.pruning.schedules import global_ranking, gradual, iterative
from pithnet.labs.pruning.settings import FULL, QUICK
from pithnet.labs.pruning.sparsity import by_layer
from pithnet.labs.pruning.structures import structures
from pithnet.labs.start import open_bench, open_book
from pithnet.labs.teachers import NONE
from pithnet.labs.writing import write_page
from pithnet.run.progress import Quiet

TAKES = ("precision", "items", "epochs", "teacher", "device")
_DEFAULT = LabOptions()
_CHANGE = {**POINTS, "difference": "points vs start"}
_RIVAL = {f"rival_{k}": f"{v} " for k, v in POINTS.items()} | {"rival_difference": "points vs std"}
_VERSUS = {f"magnitude_{k}": f"{v} " for k, v in POINTS.items()}
_VERSUS |= {"magnitude_difference": "points vs magnitude"}
_BEST = {"best_over_test_epochs": "best test epoch %"}
_TRAINED = {**ACCURACY, **_CHANGE, **_BEST, "masks_exact": "zeros exact", "epochs": "epochs"}
_BASELINE = {"what": "network", **ACCURACY, **_BEST, "epochs": "epochs", "parameters": "parameters"}
_ONE_SHOT = {"what": "pruning", "sparsity": "zeros %", **ACCURACY, **_CHANGE, **_RIVAL}
_RETRAINED = {"what": "pruning", "sparsity": "zeros %", "accuracy_before": "before %", **_TRAINED}
_SCHEDULES = {"what": "schedule", "sparsity": "zeros %", **_TRAINED}
_OWN = {"own_sparsity": "zeros by itself %", "accuracy_before": "before the mask %"}
_METHODS = {"what": "method", **_OWN, "sparsity": "zeros %", **_TRAINED, **_VERSUS}
_LAYER = {"name": "layer", "size": "weights", "start_std": "std before", "start_kurtosis": "kurtosis before"}
_LAYER |= {"zeros": "zeros", "sparsity": "zeros %"}
_PATTERNS = {f"pattern-{i}": partial(draw.pattern, f"pattern-{i}") for i in (1, 2, 3)}
_CUT_TABLES = {
    "one-shot": Table(_ONE_SHOT),
    "largest-deviation": Table(_LAYER, rows=draw.widest_layers, file="item2-largest-deviation"),
}
_CUT_FIGURES = named(draw.sparsity_per_layer, draw.zeros_by_kurtosis) | _PATTERNS
_SCHEDULE_TABLES, _METHOD_TABLES = {"iterative": Table(_SCHEDULES)}, {"methods": Table(_METHODS)}
_METHOD_FIGURES = named(draw.zeros_by_epoch)
_RANKING_TABLES = {
    "global": Table(_SCHEDULES),
    "ranked-layers": Table(_LAYER, rows=lambda book: book.of("5")[0]["layers"], file="item5-ranked"),
}
_RANKING_FIGURES = named(draw.zeros_per_layer) | _PATTERNS
_STRUCTURES = {"what": "network, removed", "removed": "of its weights %", "untuned": "untuned %", **ACCURACY}
_STRUCTURES |= {**POINTS, "difference": "points vs whole", **_BEST, "epochs": "epochs"}
_COSTS = {"what": "network, removed", "bytes": "bytes of the .pith", "memory_bytes": "bytes in memory"}
_COSTS |= {
    "macs": "MACs",
    "ms": "ms",
    "ms_low": "middle half from",
    "ms_high": "to",
    "ms_64": "ms, batch of 64",
}
_STRUCTURE_TABLES = {"structures": Table(_STRUCTURES), "structure-costs": Table(_COSTS, file="item7-costs")}
_STRUCTURE_FIGURES = named(draw.accuracy_by_structure, draw.cost_by_structure)
_NUMBERS: dict[str, Any] = {
    "by_layer": by_layer,
    "normal_within": lambda s: math.erf(s / math.sqrt(2)),
    "laplace_within": lambda s: 1 - math.exp(-s * math.sqrt(2)),
}

EXPERIMENT: Experiment[PruningLab] = Experiment(
    "pruning",
    "Pruning",
    "pithnet.labs.pruning",
    (
        Item("1", "Baseline", baseline_row, {"baseline": Table(_BASELINE)}),
        Item("2", "One-shot, without retraining", one_shot, _CUT_TABLES, _CUT_FIGURES),
        Item("3", "Retrained", retrained, {"retrained": Table(_RETRAINED)}, named(draw.accuracy_by_sparsity)),
        Item("4", "Iterative against one-shot", iterative, _SCHEDULE_TABLES, named(draw.accuracy_by_epoch)),
        Item("5", "One ranking over all layers", global_ranking, _RANKING_TABLES, _RANKING_FIGURES),
        Item("6", "Regularised instead of magnitude", regularized, _METHOD_TABLES, _METHOD_FIGURES),
        Item(
            "7",
            "Weights, kernels, filters, channels and neurons",
            structures,
            _STRUCTURE_TABLES,
            _STRUCTURE_FIGURES,
        ),
    ),
    lambda book: _NUMBERS,
)
ITEMS = tuple(item.number for item in EXPERIMENT.items)


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures the items and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    It runs on ResNet-20, or on the bundled digits' CNN; item 7 trains a network with two hidden layers on the
    digits beside it. An item measures what it needs of earlier ones: every
    item the baseline, 3 all of item 2, and 5 the iterative training of item 4. The page names what was not
    measured. A teacher, if one is asked for, teaches every training but the baseline's.

    Args:
        out: The folder, which must be new, or the lab's own with `options.resume`.
        options: What the lab is asked for.
        progress: What shows the work, as `pithnet.run.progress.reporter()`; plain lines on stderr where None.

    Raises:
        PithError: `out` cannot be written or holds another lab, or the lab does not take an option.
        DataError: The images cannot be read.
        ModelError: The weights do not fit.
    """
    options.check("pruning", TAKES)
    wanted = options.chosen(ITEMS)
    settings = (QUICK if options.quick else FULL).within(options.epochs)
    bench = open_bench(out, options, batch_size=settings.batch_size, teacher=NONE, progress=progress)
    settings = settings.taught(bench)
    lengths = {
        "baseline": 0 if options.weights else settings.baseline.epochs,
        "retraining": settings.retrain.epochs,
        "prunings": settings.prunings,
        "regularized": settings.penalties.training.epochs,
        "structures": settings.structures.training.epochs,
    }
    facts = {"settings": asdict(settings), "epochs": lengths}
    book = open_book("pruning", out, options, bench, facts, progress)
    with book:
        lab = PruningLab(book, bench, settings)
        EXPERIMENT.measure(lab, ("1", *wanted))
        _keep_patterns(lab)
        write_page(EXPERIMENT, book)
    return book.results


def _keep_patterns(lab: PruningLab) -> None:
    """Keeps the masks that the page draws: of the sparsest one-shot prunings, and of the one ranking."""
    s, models = lab.settings, {}
    if lab.book.of("2"):
        models["pattern-1"] = lambda: Cut("percentile", s.target).of(lab.start)
        models["pattern-2"] = lambda: Cut("std", max(s.deviations)).of(lab.start)
    if lab.book.of("5"):
        models["pattern-3"] = lambda: gradual(lab, "global").model
    for key, model in models.items():
        if lab.book.load(key) is None:
            lab.book.save(key, draw.masks_of(model()))
