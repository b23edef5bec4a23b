"""`lab deep-compression`: prune, share, Huffman (Han, Mao & Dally 2016), each part alone and all to one file.

Item 0 is the start (the float network, and the pruned one). Items 1 to 4: bits of weight sharing; centroid
initialisations and codebook fine-tuning; Huffman codes and positions; the whole pipeline. Items 1 to 3 start
from the network that the recipe's first step prunes and trains; asked for without item 4, from one pruned in
one shot, so that they need no training of 15 epochs; with --pruned from the network of a file.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from pithnet.artifact import Metadata, encode, float32_bytes
from pithnet.labs.deep_compression import pipeline
from pithnet.labs.deep_compression.empty_clusters import LEFT_EMPTY, REFILLED, empty_cluster_row
from pithnet.labs.deep_compression.entropy_coding import code_rows, layer_codes, total_row
from pithnet.labs.deep_compression.page import write_results
from pithnet.labs.deep_compression.settings import (
    BY_RECIPE,
    Settings,
    full_settings,
    quick_settings,
    starting_point,
)
from pithnet.labs.deep_compression.sharing import (
    Reference,
    clustering_columns,
    most_distinct_values,
    sharing_columns,
)
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.options import LabOptions
from pithnet.labs.pruned_start import PrunedFile, read_pruned
from pithnet.labs.start import open_bench, open_book
from pithnet.labs.teachers import SELF
from pithnet.labs.training import accuracy_columns, float_network, train, training_columns, zeros
from pithnet.labs.workbench import Bench
from pithnet.learn import Evaluation, evaluate
from pithnet.passes import prune, share
from pithnet.run.progress import Quiet
from pithnet.run.result import Result
from pithnet.surgery import Storage, finalize, restore

ITEMS = ("1", "2", "3", "4")
TAKES = ("precision", "items", "teacher", "device", "pruned")
_DEFAULT = LabOptions()
INITS = ("linear", "random", "density", "kmeans++", "optimal")


def run(out: Path, options: LabOptions = _DEFAULT, *, progress: Quiet | None = None) -> Path:
    """Measures items 1 to 4; writes results.json (returned), CSVs, PNGs, index.html, model.pith, six files.

    model.pith and the six files belong to item 4, the only one that carries out the recipe. The teacher
    teaches the recipe's trainings; codebooks (item 2) always learn from the labels alone.
    `progress` and errors as `pithnet.labs.pruning.experiment.run`.
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
    lab = DeepCompressionLab(book, bench, settings, given)
    lab.start_rows()
    measures = {"1": lab.sharing_bits, "2": lab.initialisations, "3": lab.huffman, "4": lab.whole_pipeline}
    for item, measure in measures.items():
        if item in wanted:
            measure()
    shared = {f"{bits} bits": lab.shared(bits) for bits in settings.bits} if book.of("1") else {}
    write_results(book, lab.pruned, shared, lab.planned())
    return book.path


class DeepCompressionLab:
    """The items, in their order. given: the pruned network of a file, None to prune one."""

    def __init__(
        self, book: Notebook, bench: Bench, settings: Settings, given: PrunedFile | None = None
    ) -> None:
        self.book, self.bench, self.settings, self.given = book, bench, settings, given
        found = float_network(book, bench, settings.baseline)
        self.float_model, self.float_evaluation = found.model, found.evaluation

    @cached_property
    def carried_out(self) -> tuple[Result, nn.Module]:
        """The recipe's result, and its network with codebooks, not finalized."""
        return pipeline.compress(self.book, self.bench, self.settings.recipe, self.float_model)

    @cached_property
    def by_recipe(self) -> nn.Module:
        """The network after the recipe's pruning and the training with it."""
        if self.book.load(pipeline.PRUNED) is None:
            self.carried_out  # noqa: B018  # leaves the state behind
        state = self.book.load(pipeline.PRUNED)
        assert state is not None
        return restore(copy.deepcopy(self.float_model), state["model"]).eval()

    @cached_property
    def pruned(self) -> nn.Module:
        """What items 1 to 3 start from."""
        if self.given is not None:
            return self.given.restored(self.float_model)
        if self.book.facts["start"] == BY_RECIPE:
            return self.by_recipe
        model = copy.deepcopy(self.float_model)
        prune(model, self.settings.one_shot)
        return model.eval()

    def planned(self) -> dict[str, list[str]]:
        """Rows by which one sees that an item is complete, by name."""
        s = self.settings
        return {
            "1": [*(f"{bits} bits" for bits in s.bits), "best trade-off"],
            "2": [f"{init}, {bits} bits" for bits in s.init_bits for init in INITS],
            "3": ["all layers", *(what for what, _, _ in self._clusterings())],
            "4": ["whole pipeline"],
        }

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
        names = {code.name for code in codes}
        self.book.row(
            "3", "all layers", lambda: total_row([r for r in self.book.of("3") if r["what"] in names])
        )
        largest = max(codes, key=lambda c: c.mask.size)
        self.book.row("3", f"codes of {largest.name}", lambda: {"codes": code_rows(largest)})
        for what, model, empty in self._clusterings():
            self.book.row("3", what, partial(empty_cluster_row, model, bits, empty))

    def _clusterings(self) -> list[tuple[str, nn.Module, str]]:
        """Both treatments of empty clusters, of the pruned network and of the one before."""
        networks = {"the pruned network": self.pruned, "the float network": self.float_model}
        ways = {"refilled": REFILLED, "left empty": LEFT_EMPTY}
        return [
            (f"empty clusters {done}, {name}", model, empty)
            for name, model in networks.items()
            for done, empty in ways.items()
        ]

    def whole_pipeline(self) -> None:
        out, (result, compressed) = self.book.out, self.carried_out
        files = pipeline.write_files(out, result, self.float_model, self.by_recipe, compressed)
        self.book.row("4", "whole pipeline", self._pipeline_row)
        sizes: dict[str, Row] = {
            name: {"bytes": size, "ratio": result.float_bytes / size} for name, size in result.rivals.items()
        }
        sizes |= {path.name: {"bytes": path.stat().st_size} for path in files}
        for name, size in sizes.items():
            self.book.row("4", name, size.copy)

    def _pipeline_row(self) -> Row:
        result, compressed = self.carried_out
        return pipeline.result_row(self.book.out, self.bench, result, compressed, self.float_evaluation)
