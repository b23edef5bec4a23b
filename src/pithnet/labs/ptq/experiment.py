"""`lab ptq`: int8 without training, static and dynamic, and what each choice on the way there is worth.

Items 2 and 3 (item 1, magnitude pruning of the same networks, is not here): files in float32, static and
dynamic int8, measured and timed in ONNX Runtime; and granularity, symmetry, observers, kinds of levels, mixed
precision, repairs and sparsity of activations, simulated in PyTorch. Nothing is trained or chosen on the test
images; ranges, repairs and bits come from training images, without labels.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pithnet.errors import PithError
from pithnet.labs.options import LabOptions
from pithnet.labs.ptq.int8 import exported, timed
from pithnet.labs.ptq.items import PtqLab
from pithnet.labs.ptq.page import write_results
from pithnet.labs.ptq.settings import FULL, QUICK
from pithnet.labs.ptq.sizes import sized
from pithnet.labs.start import open_lab
from pithnet.run.progress import Quiet

ITEMS = ("2", "3")
TAKES = ("model", "precision", "items", "epochs", "device")
_DEFAULT = LabOptions()
MODELS = {"cifar10": "vgg16", "digits": "digits-cnn"}


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures items 2 and 3; writes results.json (returned), CSV tables, PNGs, index.html and ONNX files.

    Precision and epochs are those of the baseline's training, where there is one: everything is measured in
    float32, and items 2 and 3 train nothing. To time item 2 again, run it into another `out`.
    `progress` and errors as `labs.pruning`; ModelError also for a network
    that does not take the images.
    """
    options.check("ptq", TAKES)
    wanted = options.chosen(ITEMS)
    if options.device == "cuda" and "2" in wanted:
        raise PithError(
            "item 2 of lab ptq runs int8 files in ONNX Runtime on the CPU; give --items 3 with "
            "--device cuda, or leave --device out"
        )
    settings = (QUICK if options.quick else FULL).within(options.epochs)
    book, bench = open_lab(
        "ptq",
        out,
        options,
        models=MODELS,
        progress=progress,
        batch_size=settings.batch_size,
        facts={
            "epochs": {"baseline": 0 if options.weights else settings.baseline.epochs},
            "settings": asdict(settings),
        },
    )
    if options.epochs is not None and options.weights is not None:
        book.progress.note("--epochs is not used: with --weights, items 2 and 3 train nothing")
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
