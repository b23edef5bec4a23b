"""`lab deep-compression`: prune, share, Huffman (Han, Mao & Dally 2016), each part alone and all to one file.

Item 0 is the start (the float network, and pruned by the recipe's first step). Items 1 to 4: bits of weight
sharing; centroid initialisations and codebook fine-tuning; Huffman codes and positions; the whole pipeline.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from pithnet.artifact import Metadata, encode, float32_bytes
from pithnet.labs import pipeline
from pithnet.labs.bench import Bench
from pithnet.labs.deep_compression_page import write_results
from pithnet.labs.entropy_coding import code_rows, layer_codes, total_row
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.options import LabOptions
from pithnet.labs.sharing import Reference, clustering_columns, most_distinct_values, sharing_columns
from pithnet.labs.start import open_lab
from pithnet.labs.training import accuracy_columns, float_network, train, training_columns, zeros
from pithnet.learn import Evaluation, Training, evaluate
from pithnet.passes import share
from pithnet.recipe import Recipe, load_recipe
from pithnet.run.progress import Quiet
from pithnet.surgery import Storage, finalize, restore

TAKES = ("precision", "device")
_DEFAULT = LabOptions()
INITS = ("linear", "random", "density", "kmeans++", "optimal")


@dataclass(frozen=True)
class Settings:
    """baseline: where no checkpoint is given; tune: of codebooks; agreement: what item 1 asks for."""

    baseline: Training
    tune: Training
    recipe: Recipe
    bits: tuple[int, ...] = (6, 5, 4, 3)
    init_bits: tuple[int, ...] = (4, 3)
    huffman_bits: int = 5
    agreement: float = 0.99


def full_settings(seed: int) -> Settings:
    recipe = load_recipe("deep-compression").model_copy(update={"seed": seed})
    tune = Training(epochs=2, lr=0.01, schedule="cosine", warmup=0.0)
    return Settings(Training(epochs=40, lr=0.2), tune, recipe)


def quick_settings(seed: int) -> Settings:
    """The demo's recipe in a quarter of its epochs."""
    recipe = pipeline.shortened(load_recipe("demo"), 4).model_copy(update={"seed": seed})
    tune = Training(epochs=1, lr=0.02, schedule="cosine", warmup=0.0)
    return Settings(Training(epochs=8, lr=0.2), tune, recipe, init_bits=(3,))


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures items 1 to 4; writes results.json (returned), CSVs, PNGs, index.html, model.pith, six files.

    `progress` and errors as `pithnet.labs.pruning.run`.
    """
    options.check("deep-compression", TAKES)
    settings = quick_settings(options.seed) if options.quick else full_settings(options.seed)
    recipe = settings.recipe.model_dump(mode="json")
    epochs: Row = {
        "baseline": 0 if options.weights else settings.baseline.epochs,
        "codebooks": settings.tune.epochs,
    }
    epochs |= {"pipeline": [step.train.epochs for step in settings.recipe.steps if step.train]}
    book, bench = open_lab(
        "deep-compression",
        out,
        options,
        progress=progress,
        batch_size=settings.recipe.batch_size,
        facts={"settings": {**asdict(settings), "recipe": recipe}, "epochs": epochs},
    )
    lab = DeepCompressionLab(book, bench, settings)
    lab.start_rows()
    lab.sharing_bits()
    lab.initialisations()
    lab.huffman()
    lab.whole_pipeline()
    write_results(book, lab.pruned, {f"{bits} bits": lab.shared(bits) for bits in settings.bits})
    return book.path


class DeepCompressionLab:
    """The items, in their order."""

    def __init__(self, book: Notebook, bench: Bench, settings: Settings) -> None:
        self.book, self.bench, self.settings = book, bench, settings
        found = float_network(book, bench, settings.baseline)
        self.float_model, self.float_evaluation = found.model, found.evaluation
        self.result, self.compressed = pipeline.compress(book, bench, settings.recipe, self.float_model)
        self.pruned = self._pruned()

    def _pruned(self) -> nn.Module:
        state = self.book.load(pipeline.PRUNED)
        assert state is not None
        return restore(copy.deepcopy(self.float_model), state["model"]).eval()

    @cached_property
    def pruned_evaluation(self) -> Evaluation:
        return evaluate(self.pruned, self.bench.test_batches())

    def start_rows(self) -> None:
        self.book.row("0", "float network", lambda: self._start_row(self.float_model, self.float_evaluation))
        self.book.row("0", "pruned", lambda: self._start_row(self.pruned, self.pruned_evaluation))

    def _start_row(self, model: nn.Module, evaluation: Evaluation) -> Row:
        row = accuracy_columns(evaluation, self.float_evaluation.correct)
        return row | {"zeros": zeros(model), "float_bytes": float32_bytes(self.float_model.state_dict())}

    def shared(self, bits: int, init: str = "linear") -> nn.Module:
        """A copy of the pruned network with a codebook of that many bits in each layer."""
        model = copy.deepcopy(self.pruned)
        share(model, bits, init=init, generator=self._generator())
        return model

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.bench.seed)

    def sharing_bits(self) -> None:
        reference = Reference(self.pruned, self.bench.choice_batches())
        for bits in self.settings.bits:
            self.book.row("1", f"{bits} bits", partial(self._sharing_row, bits, reference))
        self.book.row("1", "best trade-off", self._best_bits)

    def _sharing_row(self, bits: int, reference: Reference) -> Row:
        shared = self.shared(bits)
        evaluation = evaluate(shared, self.bench.test_batches())
        row = {"bits": bits} | accuracy_columns(evaluation, self.pruned_evaluation.correct)
        storage = Storage(**self.settings.recipe.storage.model_dump())
        data = encode(finalize(shared, storage), Metadata())
        row |= sharing_columns(shared, self.pruned, bits) | reference.compare(shared)
        return row | {
            "file_bytes": len(data),
            "file_ratio": float32_bytes(self.float_model.state_dict()) / len(data),
        }

    def _best_bits(self) -> Row:
        """Chosen without test images and without labels: a checkpoint knows those of training images."""
        rows = [r for r in self.book.of("1") if "agreement" in r]
        enough = [r for r in rows if r["agreement"] >= self.settings.agreement]
        best = min(enough, key=lambda r: r["bits"]) if enough else max(rows, key=lambda r: r["agreement"])
        rule = (
            "fewest bits that give the pruned network's answer on at least "
            f"{100 * self.settings.agreement:g} % of a tenth of the training images, before codebooks are "
            "fine-tuned; else those that agree most"
        )
        return {"bits": best["bits"], "rule": rule, "met": bool(enough)}

    def initialisations(self) -> None:
        for bits in self.settings.init_bits:
            for init in INITS:
                self.book.row("2", f"{init}, {bits} bits", partial(self._init_row, bits, init))

    def _init_row(self, bits: int, init: str) -> Row:
        shared = self.shared(bits, init)
        before = evaluate(shared, self.bench.test_batches())
        row: Row = {"bits": bits, "init": init, "accuracy_before": before.accuracy}
        row |= clustering_columns(self.pruned, bits, init, self._generator())
        trained = train(self.book, self.bench, f"tuned {init} {bits}", shared, self.settings.tune)
        row |= accuracy_columns(trained.evaluation, self.pruned_evaluation.correct) | training_columns(
            trained
        )
        return row | {"most_levels": most_distinct_values(trained.model)}

    def huffman(self) -> None:
        bits = self.settings.huffman_bits
        codes = layer_codes(self.shared(bits))
        for code in codes:
            self.book.row("3", code.name, partial(code.row, bits))
        self.book.row("3", "all layers", lambda: total_row(self.book.of("3")))
        largest = max(codes, key=lambda c: c.mask.size)
        self.book.row("3", f"codes of {largest.name}", lambda: {"codes": code_rows(largest)})

    def whole_pipeline(self) -> None:
        out, result = self.book.out, self.result
        files = pipeline.write_files(out, result, self.float_model, self.pruned, self.compressed)
        self.book.row("4", "whole pipeline", self._pipeline_row)
        sizes: dict[str, Row] = {
            name: {"bytes": size, "ratio": result.float_bytes / size} for name, size in result.rivals.items()
        }
        sizes |= {path.name: {"bytes": path.stat().st_size} for path in files}
        for name, size in sizes.items():
            self.book.row("4", name, size.copy)

    def _pipeline_row(self) -> Row:
        return pipeline.result_row(
            self.book.out, self.bench, self.result, self.compressed, self.float_evaluation
        )
