"""`lab deep-compression`: prune, share, Huffman (Han, Mao & Dally 2016), each part alone and all to one file.

Items 1 to 3 start from the network that the recipe's first step prunes and trains; asked for without item 4,
from one pruned in one shot, so that they need no training; with --pruned from the network of a file.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pithnet.labs.columns import ACCURACY, POINTS
from pithnet.labs.deep_compression import figures as draw
from pithnet.labs.deep_compression.entropy_coding import position_rows
from pithnet.labs.deep_compression.lab import DeepCompressionLab as Lab
from pithnet.labs.deep_compression.settings import full_settings, quick_settings, starting_point
from pithnet.labs.experiment import Experiment, Item, Table, having, named
from pithnet.labs.options import LabOptions
from pithnet.labs.pruned_start import read_pruned
from pithnet.labs.start import open_bench, open_book
from pithnet.labs.teachers import SELF
from pithnet.labs.writing import write_page
from pithnet.run.progress import Quiet

TAKES = ("precision", "items", "teacher", "device", "pruned")
_DEFAULT = LabOptions()
_CHANGE = {**POINTS, "difference": "points vs pruned"}
_START = {"what": "network", **ACCURACY, "difference": "points vs float", "zeros": "zeros"}
_BYTES = {"index_bytes": "index bytes", "codebook_bytes": "codebook bytes", "file_bytes": "file bytes"}
_SHARING = {"what": "sharing", **ACCURACY, **_CHANGE, "agreement": "same answers %", "kl": "KL, nats"}
_SHARING |= {**_BYTES, "file_ratio": "file ratio", "zeros_kept": "zeros kept"}
_INITS = {"what": "initialisation", "inertia": "inertia", "iterations": "iterations"}
_INITS |= {"most_iterations": "in the slowest layer", "accuracy_before": "before tuning %", **ACCURACY}
_INITS |= {**_CHANGE, "best_over_test_epochs": "best test epoch %", "most_levels": "most values in a layer"}
_INITS |= {"masks_exact": "zeros exact"}
_BITS = {"fixed_bits": "fixed width", "huffman_bits": "Huffman", "entropy_bits": "entropy"}
_CODES = {"what": "layer", "weights": "weights", "nonzeros": "non-zeros", **_BITS}
_CODES |= {f"dense_{key}": f"{title}, zero a symbol" for key, title in _BITS.items()}
_EMPTY = {"what": "k-means from a linear start", "levels": "clusters with members", "clusters": "of"}
_EMPTY |= {**_BITS, "inertia": "inertia"}
_WHOLE = {"accuracy_before": "float %", **ACCURACY, "difference": "points", "bytes": "bytes"}
_FILES = {"what": "file", "bytes": "bytes", "ratio": "times smaller"}
_SHARING_TABLES = {"sharing": Table(_SHARING, rows=having("1", "accuracy"))}
_SHARING_FIGURES = named(draw.weights, draw.accuracy_by_bytes)
_INIT_TITLE = "Centroid initialisation and codebook fine-tuning"
_INIT_TABLES = {"initialisations": Table(_INITS)}
_HUFFMAN_TABLES = {
    "code-lengths": Table(_CODES, rows=having("3", "positions")),
    "positions": Table(rows=position_rows, file="item3-positions"),
    "empty-clusters": Table(_EMPTY, rows=having("3", "empty"), file="item3-empty-clusters"),
    "codes": Table(rows=lambda book: having("3", "codes")(book)[0]["codes"], file="item3-codes"),
}
_PIPELINE_TABLES = {
    "pipeline": Table(_WHOLE, rows=lambda book: book.of("4")[:1]),
    "files": Table(_FILES, rows=lambda book: book.of("4")[1:], file="item4-files"),
}

EXPERIMENT: Experiment[Lab] = Experiment(
    "deep-compression",
    "Deep Compression",
    "pithnet.labs.deep_compression",
    (
        Item("0", "The start", Lab.start, {"start": Table(_START)}),
        Item("1", "Weight sharing", Lab.sharing_bits, _SHARING_TABLES, _SHARING_FIGURES),
        Item("2", _INIT_TITLE, Lab.initialisations, _INIT_TABLES, named(draw.codebook_tuning)),
        Item("3", "Huffman codes and positions", Lab.huffman, _HUFFMAN_TABLES, named(draw.code_length)),
        Item("4", "The whole pipeline", Lab.whole_pipeline, _PIPELINE_TABLES, named(draw.file_bytes)),
    ),
)
ITEMS = tuple(item.number for item in EXPERIMENT.items if item.number != "0")


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures the items; writes results.json (returned), CSVs, PNGs, index.html, model.pith and six files.

    model.pith and the six files belong to item 4, the only one that carries out the recipe. The teacher
    teaches the recipe's trainings; codebooks (item 2) always learn from the labels alone. Arguments and
    errors are those of `pithnet.labs.pruning.experiment.run`.
    """
    options.check("deep-compression", TAKES)
    wanted = options.chosen(ITEMS)
    settings = quick_settings(options.seed) if options.quick else full_settings(options.seed)
    bench = open_bench(out, options, batch_size=settings.recipe.batch_size, teacher=SELF, progress=progress)
    settings = settings.taught(bench.teacher)
    given = None if options.pruned is None else read_pruned(options.pruned, bench)
    facts = {
        "settings": {**asdict(settings), "recipe": settings.recipe.model_dump(mode="json")},
        "epochs": {
            "baseline": 0 if options.weights else settings.baseline.epochs,
            "codebooks": settings.tune.epochs,
            "pipeline": [step.train.epochs for step in settings.recipe.steps if step.train],
        },
        "start": starting_point(out, options, wanted),
        "pruned": None if given is None else given.facts,
    }
    book = open_book("deep-compression", out, options, bench, facts, progress)
    with book:
        lab = Lab(book, bench, settings, given)
        EXPERIMENT.measure(lab, ("0", *wanted))
        lab.keep_weights()
        write_page(EXPERIMENT, book)
    return book.results
