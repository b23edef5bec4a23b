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
from pithnet.labs.start import checked_epochs, chosen_items, open_lab
from pithnet.run.progress import Quiet

ITEMS = ("1", "2", "3", "4", "5", "6", "7")


def run(
    out: Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    weights: Path | None = None,
    quick: bool = False,
    resume: bool = False,
    seed: int = 0,
    precision: str = "float32",
    items: str | None = None,
    epochs: int | None = None,
    progress: Quiet | None = None,
) -> Path:
    """Measures items 1 to 7 and writes results.json (returned), CSV tables, PNGs and index.html into `out`.

    Args:
        data: "cifar10" (ResNet-20; the default) or "digits" (the bundled digits' CNN).
        weights: a checkpoint to quantize, None to train the baseline here.
        quick: on the bundled digits, with few epochs: a minute instead of hours.
        resume: keep the rows of `out` that are finished, and continue the training that was cut off.
        precision: "float32", "bf16" or "auto", of the trainings.
        items: those to measure, as in "2,5"; all of them where None. 3, 4 and 6 train the rows of 2 and 5
            that they are compared with. The page shows what has been measured.
        epochs: of every training but the baseline's; the lab's own number where None.
        progress: what shows the work, as `pithnet.run.progress.reporter()`; plain lines on stderr where None.

    Raises DataError, ModelError for data and weights that cannot be used; PithError for an `out` that cannot,
    for items that there are not, and for epochs below 1.
    """
    wanted = chosen_items(items, ITEMS)
    settings = (QUICK if quick else FULL).within(checked_epochs(epochs))
    lengths = {
        "baseline": 0 if weights else settings.baseline.epochs,
        "tuning": settings.tuning.epochs,
        "pruning": settings.pruning.epochs,
    }
    book, bench = open_lab(
        "fixed-point",
        out,
        data=data,
        data_root=data_root,
        weights=weights,
        quick=quick,
        resume=resume,
        seed=seed,
        precision=precision,
        items=items,
        epochs=epochs,
        progress=progress,
        batch_size=settings.batch_size,
        facts={"epochs": lengths, "settings": asdict(settings)},
    )
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
