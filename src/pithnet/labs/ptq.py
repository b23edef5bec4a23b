"""`lab ptq`: int8 without training, static and dynamic, and what each choice on the way there is worth.

Items 2 and 3 (item 1, magnitude pruning of the same networks, is not here): files in float32, static and
dynamic int8, measured and timed in ONNX Runtime; and granularity, symmetry, observers, kinds of levels, mixed
precision, repairs and sparsity of activations, simulated in PyTorch. Nothing is trained or chosen on the test
images; ranges, repairs and bits come from training images, without labels.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pithnet.labs.ptq_int8 import exported, timed
from pithnet.labs.ptq_items import PtqLab
from pithnet.labs.ptq_page import write_results
from pithnet.labs.ptq_settings import FULL, QUICK
from pithnet.labs.ptq_sizes import sized
from pithnet.labs.start import chosen_items, open_lab
from pithnet.run.progress import Quiet

ITEMS = ("2", "3")
MODELS = {"cifar10": "vgg16", "digits": "digits-cnn"}


def run(
    out: Path,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    weights: Path | None = None,
    quick: bool = False,
    resume: bool = False,
    seed: int = 0,
    model: str | None = None,
    precision: str = "float32",
    items: str | None = None,
    progress: Quiet | None = None,
) -> Path:
    """Measures items 2 and 3; writes results.json (returned), CSV tables, PNGs, index.html and ONNX files.

    Args:
        data: "cifar10" (the default) or "digits" (the bundled ones).
        weights: a checkpoint of `model`, None to train a baseline here.
        quick: on the bundled digits: a minute instead of most of an hour.
        resume: keep the rows of `out` that are finished.
        model: of the zoo: "vgg16" (the default), "resnet18", "resnet20", ...; "digits-cnn" for digits.
        precision: "float32", "bf16" or "auto", of the baseline's training; everything is measured in float32.
        items: those to measure, as in "2"; both where None. To time item 2 again, run it into another `out`.
        progress: what shows the work, as `pithnet.run.progress.reporter()`; plain lines on stderr where None.

    Raises DataError, ModelError for data, models and weights that cannot be used; PithError for an `out` that
    cannot, and for items that there are not.
    """
    wanted = chosen_items(items, ITEMS)
    settings = QUICK if quick else FULL
    book, bench = open_lab(
        "ptq",
        out,
        data=data,
        data_root=data_root,
        weights=weights,
        quick=quick,
        resume=resume,
        seed=seed,
        precision=precision,
        items=items,
        model=model,
        models=MODELS,
        progress=progress,
        batch_size=settings.batch_size,
        facts={
            "epochs": {"baseline": 0 if weights else settings.baseline.epochs},
            "settings": asdict(settings),
        },
    )
    lab = PtqLab(book, bench, settings)
    if "2" in wanted:
        exported(lab)
        timed(lab)
        if settings.imagenet:
            sized(book)
    if "3" in wanted:
        lab.simulated()
    write_results(book)
    return book.path
