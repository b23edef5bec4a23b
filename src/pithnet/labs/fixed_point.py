"""`lab fixed-point`: straight-through quantization from 6 to 2 bits, untuned, trained, pruned, mixed.

Items 1 to 7: bits without training; the same trained; a pruned network; symmetric or asymmetric levels;
mixed precision by stage; mixed precision found by sensitivity; repairs without labels and without training.
Levels are the source's (`dynamic`, a scale per tensor) or ours (`lsq`, a learned step per channel), in item 7
`dynamic` with a scale per channel. No setting is chosen on what the lab shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pithnet.labs.fixed_point_items import FixedPointLab
from pithnet.labs.fixed_point_page import write_results
from pithnet.labs.fixed_point_repairs import repaired
from pithnet.labs.fixed_point_search import searched
from pithnet.labs.fixed_point_settings import FULL, QUICK
from pithnet.labs.options import LabOptions
from pithnet.labs.start import open_bench, open_book
from pithnet.labs.teachers import SELF
from pithnet.run.progress import Quiet

ITEMS = ("1", "2", "3", "4", "5", "6", "7")
TAKES = ("precision", "items", "epochs", "teacher", "device")
_DEFAULT = LabOptions()


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures items 1 to 7 and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    On ResNet-20, or the bundled digits' CNN. Items 3, 4 and 6 train the rows of 2 and 5 that they are
    compared with. `progress` and errors as `pithnet.labs.pruning.run`.
    """
    options.check("fixed-point", TAKES)
    wanted = options.chosen(ITEMS)
    settings = (QUICK if options.quick else FULL).within(options.epochs)
    bench = open_bench(out, options, batch_size=settings.batch_size, teacher=SELF, progress=progress)
    settings = settings.taught(bench)
    lengths = {
        "baseline": 0 if options.weights else settings.baseline.epochs,
        "tuning": settings.tuning.epochs,
        "pruning": settings.pruning.epochs,
    }
    facts = {"epochs": lengths, "settings": asdict(settings)}
    book = open_book("fixed-point", out, options, bench, facts, progress)
    lab = FixedPointLab(book, bench, settings)
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
