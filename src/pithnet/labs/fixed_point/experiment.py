"""`lab fixed-point`: straight-through quantization from 6 to 2 bits, untuned, trained, pruned, mixed.

Items 1 to 7: bits without training; the same trained; a pruned network; symmetric levels, trained; mixed
precision by stage; mixed precision found by sensitivity; repairs without labels and without training.
Levels are the source's (`dynamic`, a scale per tensor), the source's made symmetric, or ours (`lsq`, a
learned step per channel); in item 7 `dynamic` with a scale per channel. No setting is chosen on what the lab
shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pithnet.errors import PithError
from pithnet.labs.fixed_point.items import FixedPointLab
from pithnet.labs.fixed_point.page import write_results
from pithnet.labs.fixed_point.repairs import repaired
from pithnet.labs.fixed_point.schemes import CHOICES, OURS, SOURCE, SYMMETRIC, stages
from pithnet.labs.fixed_point.search import searched
from pithnet.labs.fixed_point.settings import FULL, QUICK, Settings
from pithnet.labs.notebook import Row
from pithnet.labs.options import LabOptions
from pithnet.labs.pruned_start import read_pruned
from pithnet.labs.start import open_bench, open_book
from pithnet.labs.teachers import SELF
from pithnet.labs.workbench import Bench
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


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures items 1 to 7 and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    On ResNet-20, another network of the zoo, or the bundled digits' CNN. Items 3, 4 and 6 train the rows of
    2, 4 and 5 that they are compared with. `progress` and errors as `labs.pruning`, and as
    `read_pruned`; PithError for items that have no rows of the levels asked for.
    """
    options.check("fixed-point", TAKES)
    levels = options.chosen_levels(tuple(CHOICES))
    wanted = chosen_items(options, levels)
    settings = (QUICK if options.quick else FULL).within(options.epochs)
    bench = open_bench(out, options, batch_size=settings.batch_size, teacher=SELF, progress=progress)
    _check_stages(bench, wanted)
    given = None if options.pruned is None else read_pruned(options.pruned, bench)
    settings = settings.taught(bench)
    facts = {
        "epochs": _epochs(settings, options),
        "settings": asdict(settings),
        "pruned": None if given is None else given.facts,
    }
    book = open_book("fixed-point", out, options, bench, facts, progress)
    lab = FixedPointLab(book, bench, settings, [kind for name in levels for kind in CHOICES[name]], given)
    measures: tuple[Callable[[], None], ...] = (
        lab.untuned,
        lab.tuned,
        lab.pruned,
        lab.symmetric,
        lab.mixed,
        partial(searched, lab),
        partial(repaired, lab),
    )
    for item, measure in zip(ITEMS, measures, strict=True):
        if item in wanted:
            measure()
    write_results(book, lab.pictured() if book.of("1") else {})
    return book.path


def chosen_items(options: LabOptions, levels: tuple[str, ...]) -> tuple[str, ...]:
    """The items asked for; where none are, those that have rows of these levels.

    Raises PithError for an item that there is not, or that has no rows of them.
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


def _check_stages(bench: Bench, wanted: tuple[str, ...]) -> None:
    """Raises PithError where bits by stage are wanted of a network that has no stages."""
    asked = [item for item in wanted if item in _BY_STAGE]
    if asked and len(stages(bench.model()).inner) < 2:
        others = ",".join(item for item in ITEMS if item not in _BY_STAGE)
        which = f"item {asked[0]} gives" if len(asked) == 1 else "items 5 and 6 give"
        raise PithError(
            f"{which} bits by stage, and {bench.architecture} has no stages; choose --items {others}, or a "
            "ResNet"
        )


def _epochs(settings: Settings, options: LabOptions) -> Row:
    return {
        "baseline": 0 if options.weights else settings.baseline.epochs,
        "tuning": settings.tuning.epochs,
        "pruning": 0 if options.pruned else settings.pruning.epochs,
    }
