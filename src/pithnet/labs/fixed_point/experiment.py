"""`lab fixed-point`: straight-through quantization from 6 to 2 bits, untuned, trained, pruned, mixed.

Levels are the source's (`dynamic`, a scale per tensor), the source's made symmetric, or ours (`lsq`, a
learned step per channel); in item 7 `dynamic` with a scale per channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from torch import nn

from pithnet.errors import PithError
from pithnet.labs.columns import ACCURACY, POINTS, RIVAL
from pithnet.labs.experiment import Draw, Experiment, Item, Table, named
from pithnet.labs.fixed_point import figures
from pithnet.labs.fixed_point.lab import FixedPointLab, size_columns
from pithnet.labs.fixed_point.numbers import numbers
from pithnet.labs.fixed_point.repairs import repaired
from pithnet.labs.fixed_point.schemes import (
    CHOICES,
    OURS,
    RIVALS,
    SOURCE,
    SYMMETRIC,
    Scheme,
    staged_schemes,
    stages,
)
from pithnet.labs.fixed_point.search import searched
from pithnet.labs.fixed_point.settings import FULL, QUICK
from pithnet.labs.notebook import Row
from pithnet.labs.options import LabOptions
from pithnet.labs.pruned_start import read_pruned
from pithnet.labs.start import open_bench, open_book
from pithnet.labs.teachers import SELF
from pithnet.labs.training import accuracy_columns
from pithnet.labs.workbench import Workbench
from pithnet.labs.writing import write_page
from pithnet.run.progress import Quiet

# Which of the levels that --levels names an item has rows of.
ITEMS = {
    "1": (SOURCE, SYMMETRIC, OURS),
    "2": (SOURCE, OURS),
    "3": (SOURCE, OURS),
    "4": (SYMMETRIC,),
    "5": (SOURCE, OURS),
    "6": (OURS,),
    "7": (OURS,),
}
_BY_STAGE = ("5", "6")
TAKES = ("model", "precision", "items", "epochs", "teacher", "device", "levels", "pruned")
_DEFAULT = LabOptions()


def _float(lab: FixedPointLab) -> None:
    lab.book.row("0", "float", lambda: accuracy_columns(lab.float) | size_columns(lab.start))


def _untuned(lab: FixedPointLab) -> None:
    """The source's levels and ours, blocks and all layers, and symmetric ones in the blocks."""
    ways = [(levels, ends) for levels in (SOURCE, OURS) for ends in (False, True)]
    ways += [(levels, False) for levels in RIVALS]
    found = [Scheme(levels, b, ends) for levels, ends in ways for b in lab.settings.bits]
    lab.rows("1", found, lab.untuned_row)


def _tuned(lab: FixedPointLab) -> None:
    """Ours and the source's levels in the blocks, as the source has it, and ours in all layers."""
    ways = ((OURS, False), (SOURCE, False), (OURS, True))
    found = [Scheme(levels, b, ends) for levels, ends in ways for b in lab.settings.trained]
    lab.rows("2", found, lab.trained_row)


def _pruned(lab: FixedPointLab) -> None:
    """Ours and the source's levels in the blocks after pruning, beside the same without."""
    for levels in (OURS, SOURCE):
        if levels in lab.levels:
            measure = partial(_after_pruning, lab, lab.pruned_network(levels))
            lab.rows("3", [Scheme(levels, b) for b in lab.settings.trained], measure)


def _after_pruning(lab: FixedPointLab, base: nn.Module, scheme: Scheme) -> Row:
    return lab.trained_row(scheme, base, rival=scheme)


def _symmetric(lab: FixedPointLab) -> None:
    """The source's levels made symmetric, without and with zero, beside what differs in one thing."""
    found = [Scheme(levels, b) for levels in RIVALS for b in lab.settings.trained]
    lab.rows("4", found, lambda s: lab.trained_row(s, rival=replace(s, levels=RIVALS[s.levels])))


def _mixed(lab: FixedPointLab) -> None:
    lab.rows("5", staged_schemes(lab.start), lab.trained_row)


_WHAT = {"what": "levels, bits, layers", "average_bits": "bits per weight"}
_TRAINED = {"teacher": "teacher", "best_over_test_epochs": "best test epoch %", "epochs": "epochs"}
_BEFORE = _WHAT | {"accuracy_before": "untrained %"} | ACCURACY | POINTS
_KEPT = {"zeros": "zeros", "masks_exact": "zeros exact after every epoch"}
_SHIFT = {"shift": "shift of the mean"}
_DISTANCE = {"most_levels": "most levels in a channel", "divergence": "KL to float, nats"}
_COLUMNS = {
    "0": {"what": "network", **ACCURACY},
    "1": _WHAT | ACCURACY | POINTS | RIVAL | _SHIFT,
    "2": _BEFORE | _TRAINED,
    "3": _BEFORE | RIVAL | _TRAINED | _KEPT,
    "4": _BEFORE | RIVAL | _TRAINED,
    "5": _BEFORE | _TRAINED,
    "6": _BEFORE | RIVAL | _TRAINED,
    "7": _WHAT | _DISTANCE | ACCURACY | POINTS | RIVAL | {"seconds": "seconds"},
}


def _item(
    number: str, title: str, measure: Callable[[FixedPointLab], None], curves: str, **more: Draw
) -> Item[FixedPointLab]:
    """An item with its table, its accuracies in the figure `curves`, and those by epoch."""
    drawn = {
        curves: partial(figures.accuracies, curves),
        f"epochs-{number}": partial(figures.by_epoch, number),
    }
    return Item(number, title, measure, {number: Table(_COLUMNS[number])}, drawn | more)


_BITS = named(figures.bits_by_layer)
EXPERIMENT: Experiment[FixedPointLab] = Experiment(
    "fixed-point",
    "Fixed-point quantization",
    "pithnet.labs.fixed_point",
    (
        Item("0", "The float network", _float, {"0": Table(_COLUMNS["0"])}),
        _item("1", "Without training", _untuned, "accuracy-by-bits", levels=figures.levels),
        _item("2", "Trained", _tuned, "trained-by-bits"),
        _item("3", "After pruning", _pruned, "pruned-by-bits"),
        _item("4", "Symmetric levels, trained", _symmetric, "symmetric-by-bits"),
        _item("5", "Mixed precision by stage", _mixed, "accuracy-by-size"),
        _item("6", "Mixed precision by search", searched, "searched-by-size", **_BITS),
        _item("7", "Without labels and without training", repaired, "repaired-by-bits"),
    ),
    numbers,
)


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures items 1 to 7 and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    It runs on ResNet-20, another network of the zoo, or the bundled digits' CNN. Items 3, 4 and 6 train the
    rows of 2, 4 and 5 that they are compared with. Arguments and errors are those of
    `pithnet.labs.pruning.experiment.run`, of `read_pruned` and of `chosen_items`.
    """
    options.check("fixed-point", TAKES)
    levels = options.chosen_levels(tuple(CHOICES))
    wanted = chosen_items(options, levels)
    settings = (QUICK if options.quick else FULL).within(options.epochs)
    bench = open_bench(out, options, batch_size=settings.batch_size, teacher=SELF, progress=progress)
    _check_stages(bench, wanted)
    given = None if options.pruned is None else read_pruned(options.pruned, bench)
    settings = settings.taught(bench)
    epochs = {
        "baseline": 0 if options.weights else settings.baseline.epochs,
        "tuning": settings.tuning.epochs,
        "pruning": 0 if given else settings.pruning.epochs,
    }
    facts = {"epochs": epochs, "settings": asdict(settings), "pruned": given.facts if given else None}
    book = open_book("fixed-point", out, options, bench, facts, progress)
    with book:
        kinds = [kind for name in levels for kind in CHOICES[name]]
        lab = FixedPointLab(book, bench, settings, kinds, given)
        EXPERIMENT.measure(lab, ("0", *wanted))
        if book.of("1"):
            book.save("levels", lab.pictured())
        write_page(EXPERIMENT, book)
    return book.results


def chosen_items(options: LabOptions, levels: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the items asked for; where none are, those that have rows of these levels.

    Raises:
        PithError: There is no such item, or it has no rows of them.
    """
    chosen = options.chosen(ITEMS)
    possible = tuple(item for item in chosen if set(ITEMS[item]) & set(levels))
    if options.items is None:
        return possible
    for item in chosen:
        if item not in possible:
            raise PithError(
                f"item {item} has rows of --levels {','.join(ITEMS[item])} only; add those, or leave out "
                f"item {item}"
            )
    return chosen


def _check_stages(bench: Workbench, wanted: tuple[str, ...]) -> None:
    """Raises PithError where bits by stage are wanted of a network that has no stages."""
    asked = [item for item in wanted if item in _BY_STAGE]
    if asked and len(stages(bench.model()).inner) < 2:
        others = ",".join(item for item in ITEMS if item not in _BY_STAGE)
        which = f"item {asked[0]} gives" if len(asked) == 1 else "items 5 and 6 give"
        raise PithError(
            f"{which} bits by stage, and {bench.architecture} has no stages; choose --items {others}, or a "
            "ResNet"
        )
