"""`lab ptq`: pruning and int8 without training, and what each choice on the way to int8 is worth.

Files are measured and timed in ONNX Runtime; single choices are simulated in PyTorch. Nothing is chosen on
the test images, and nothing is trained, unless item 1 is asked to fine-tune what it prunes; ranges, repairs
and bits come from training images, without labels.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from pithnet.errors import PithError
from pithnet.labs.columns import ACCURACY, POINTS, RIVAL
from pithnet.labs.experiment import Draw, Experiment, Item, Table, named
from pithnet.labs.options import LabOptions
from pithnet.labs.ptq import figures
from pithnet.labs.ptq.comparisons import comparisons
from pithnet.labs.ptq.files import measured
from pithnet.labs.ptq.lab import PtqLab
from pithnet.labs.ptq.numbers import files, group, layers, numbers, sizes, times
from pithnet.labs.ptq.pruned import pruned
from pithnet.labs.ptq.settings import FULL, QUICK
from pithnet.labs.start import open_lab
from pithnet.labs.writing import write_page
from pithnet.run.progress import Quiet

ITEMS = ("1", "2", "3")
TAKES = ("model", "precision", "items", "epochs", "device")
_DEFAULT = LabOptions()
MODELS = {"cifar10": "vgg16", "digits": "digits-cnn"}
_SIZE = {"mib": "MiB", "bytes": "bytes", "source_mib": "source MiB"}
_FILES = {"what": "file", **_SIZE, **ACCURACY, **POINTS, "source_accuracy": "source %"}
_KERNELS = {"what": "file", "convolutions_in_int8": "convolutions in int8"}
_KERNELS |= {"additions_in_int8": "additions in int8", "linear_layers_in_int8": "linear layers in int8"}
_KERNELS |= {"left_in_float": "left in float", "max_difference": "largest difference", "step": "step"}
_KERNELS |= {"within_a_step": "within a step %", "same_classes": "same class, of images"}
_TIMES = {"file": "file", "runtime": "runtime", "batch": "batch", "threads": "threads", "ms": "ms"}
_TIMES |= {"ms_low": "middle half from", "ms_high": "to", "rounds": "rounds"}
_TIMES |= {"share_of_eager": "of PyTorch eager %", "share_of_float32": "of its float32 %"}
_SCHEMES = {"what": "scheme", "average_bits": "bits per weight", "weight_error": "weight error"}
_SCHEMES |= ACCURACY | POINTS | RIVAL
_STEP = {"activation_step": "activation step"}
_LAYERS = {"name": "layer", "zero_share": "zeros after its ReLU %", "spread": "range, widest to median"}


def _comparison(name: str) -> Table:
    stepped = any(entrant.scheme.activations for entrant in comparisons()[name])
    columns = _SCHEMES | (_STEP if stepped else {})
    return Table(columns, "", partial(group, name), f"item3-{name}")


_FLOAT = {"float": Table({"what": "network", "parameters": "parameters", **ACCURACY})}
_PRUNED = {"what": "pruned", "zeros": "zeros", "untuned": "untuned %", **ACCURACY, **POINTS}
_PRUNED |= {"best_over_test_epochs": "best test epoch %", "masks_exact": "zeros exact", "epochs": "epochs"}
_PRUNED |= {"source": "source %"}
_TAKES = {"what": "pruned", "bytes": "bytes of the .pith", "memory_bytes": "bytes in memory"}
_TAKES |= {"ms": "ms", "ms_low": "middle half from", "ms_high": "to"}
_ITEM_1 = {"pruned": Table(_PRUNED), "pruned-sizes": Table(_TAKES, file="item1-sizes")}
_INT8 = {
    "files": Table(_FILES, rows=files),
    "kernels": Table(_KERNELS, rows=files, file="item2-kernels"),
    "times": Table(_TIMES, rows=times, file="item2-times"),
    "sizes": Table({"what": "file", **_SIZE, "note": "measured with"}, rows=sizes, file="item2-sizes"),
}
_COMPARED = {name: _comparison(name) for name in comparisons()}
_COMPARED |= {"layers": Table(_LAYERS, rows=layers, file="item3-layers")}
_BARS: dict[str, Draw] = {f"points-{name}": partial(figures.points, name) for name in comparisons()}
_BARS |= named(figures.bits_by_layer, figures.zeros_by_layer, figures.range_by_layer)

EXPERIMENT: Experiment[PtqLab] = Experiment(
    "ptq",
    "Pruning and quantization after training",
    "pithnet.labs.ptq",
    (
        Item("0", "The float network", PtqLab.float_row, _FLOAT),
        Item("1", "Pruned by magnitude", pruned, _ITEM_1, named(figures.accuracy_by_share)),
        Item("2", "Static and dynamic int8", measured, _INT8, {"times": figures.share_of_time}),
        Item("3", "Choices on the way to int8", PtqLab.simulated, _COMPARED, _BARS),
    ),
    numbers,
)


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures the items; writes results.json (returned), CSV tables, PNGs, index.html and ONNX files.

    With epochs, item 1 fine-tunes every pruned network for so long; items 2 and 3 train nothing. The
    precision is that of trainings, the baseline's too: everything is measured in float32. To time items 1 and
    2 again, run them into another `out`. Arguments and errors are those of
    `pithnet.labs.pruning.experiment.run`.
    """
    options.check("ptq", TAKES)
    wanted = options.chosen(ITEMS)
    if options.device == "cuda" and "2" in wanted:
        raise PithError(
            "item 2 of lab ptq runs int8 files in ONNX Runtime on the CPU; give --items 1,3 with "
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
            "epochs": {
                "baseline": 0 if options.weights else settings.baseline.epochs,
                "pruned": 0 if settings.tuning is None else settings.tuning.epochs,
            },
            "settings": asdict(settings),
        },
    )
    with book:
        if options.epochs is not None and "1" not in wanted:
            book.progress.note("--epochs is not used: items 2 and 3 train nothing")
        EXPERIMENT.measure(PtqLab(book, bench, settings), ("0", *wanted))
        write_page(EXPERIMENT, book)
    return book.results
