"""The items of `lab deep-compression`, measured on the float network and on what is pruned from it."""

from __future__ import annotations

import copy
from functools import cached_property, partial

import torch
from torch import nn

from pithnet.artifact import Metadata, encode, float32_bytes
from pithnet.labs.deep_compression import pipeline
from pithnet.labs.deep_compression.entropy_coding import (
    LEFT_EMPTY,
    REFILLED,
    code_rows,
    empty_cluster_row,
    layer_codes,
    total_row,
)
from pithnet.labs.deep_compression.settings import BY_RECIPE, Settings
from pithnet.labs.deep_compression.sharing import (
    Reference,
    clustering_columns,
    most_distinct_values,
    sharing_columns,
)
from pithnet.labs.deep_compression.source_files import write_source_files
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.pruned_start import PrunedFile
from pithnet.labs.training import accuracy_columns, float_network, train, training_columns, zeros
from pithnet.labs.workbench import Workbench
from pithnet.learn import Evaluation, evaluate
from pithnet.passes import prune, share
from pithnet.run.result import Result
from pithnet.surgery import Storage, finalize, restore, weighted_layers

INITS = ("linear", "random", "density", "kmeans++", "optimal")
WEIGHTS = "weights"  # the notebook's state with the weights that are drawn


class DeepCompressionLab:
    """The items are methods; `given` is the pruned network of a file, None where the lab prunes one."""

    def __init__(
        self, book: Notebook, bench: Workbench, settings: Settings, given: PrunedFile | None
    ) -> None:
        self.book, self.bench, self.settings, self.given = book, bench, settings, given
        found = float_network(book, bench, settings.baseline)
        self.float_model, self.float_evaluation = found.model, found.evaluation
        self.float_bytes = float32_bytes(self.float_model.state_dict())

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
        """The network that items 1 to 3 start from."""
        if self.given is not None:
            return self.given.restored(self.float_model)
        if self.book.facts["start"] == BY_RECIPE:
            return self.by_recipe
        model = copy.deepcopy(self.float_model)
        prune(model, self.settings.one_shot)
        return model.eval()

    @cached_property
    def pruned_evaluation(self) -> Evaluation:
        """Its evaluation on the test images."""
        return evaluate(self.pruned, self.bench.test_batches())

    def shared(self, bits: int, init: str = "linear") -> nn.Module:
        """Returns a copy of the pruned network with a codebook of that many bits in each layer."""
        model = copy.deepcopy(self.pruned)
        share(model, bits, init=init, generator=self._generator())
        return model

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.bench.seed)

    def start(self) -> None:
        """Measures item 0: the float network and the pruned one."""

        def row(model: nn.Module, evaluation: Evaluation) -> Row:
            columns = accuracy_columns(evaluation, self.float_evaluation.correct)
            return columns | {"zeros": zeros(model), "float_bytes": self.float_bytes}

        self.book.row("0", "float network", lambda: row(self.float_model, self.float_evaluation))
        self.book.row("0", "pruned", lambda: row(self.pruned, self.pruned_evaluation))

    def sharing_bits(self) -> None:
        """Measures item 1: weight sharing with fewer and fewer bits."""
        reference = Reference(self.pruned, self.bench.choice_batches())
        for bits in self.settings.bits:
            self.book.row("1", f"{bits} bits", partial(self._sharing_row, bits, reference))
        self.book.row("1", "best trade-off", self._best_bits)

    def _sharing_row(self, bits: int, reference: Reference) -> Row:
        shared = self.shared(bits)
        evaluation = evaluate(shared, self.bench.test_batches())
        row = {"bits": bits} | accuracy_columns(evaluation, self.pruned_evaluation.correct)
        row |= sharing_columns(shared, self.pruned, bits) | reference.compare(shared)
        storage = Storage(**self.settings.recipe.storage.model_dump())
        size = len(encode(finalize(shared, storage), Metadata()))
        return row | {"file_bytes": size, "file_ratio": self.float_bytes / size}

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
        """Measures item 2: where the centroids begin, and what training them adds."""
        for bits in self.settings.init_bits:
            for init in INITS:
                self.book.row("2", f"{init}, {bits} bits", partial(self._init_row, bits, init))

    def _init_row(self, bits: int, init: str) -> Row:
        shared = self.shared(bits, init)
        before = evaluate(shared, self.bench.test_batches())
        row: Row = {"bits": bits, "init": init, "accuracy_before": before.accuracy}
        row |= clustering_columns(self.pruned, bits, init, self._generator())
        trained = train(self.book, self.bench, f"tuned {init} {bits}", shared, self.settings.tune)
        row |= accuracy_columns(trained.evaluation, self.pruned_evaluation.correct)
        return row | training_columns(trained) | {"most_levels": most_distinct_values(trained.model)}

    def huffman(self) -> None:
        """Measures item 3: Huffman codes of every layer, its positions, and empty clusters."""
        bits = self.settings.huffman_bits
        codes = layer_codes(self.shared(bits))
        rows = [self.book.row("3", code.name, partial(code.row, bits)) for code in codes]
        self.book.row("3", "all layers", lambda: total_row(rows))
        largest = max(codes, key=lambda c: c.mask.size)
        self.book.row("3", f"codes of {largest.name}", lambda: {"codes": code_rows(largest)})
        for name, model in {"pruned": self.pruned, "float": self.float_model}.items():
            for done, empty in {"refilled": REFILLED, "left empty": LEFT_EMPTY}.items():
                what = f"empty clusters {done}, the {name} network"
                self.book.row("3", what, partial(empty_cluster_row, model, bits, empty))

    def whole_pipeline(self) -> None:
        """Measures item 4: the recipe as a whole, its file, and the source's six files."""
        out, (result, compressed) = self.book.out, self.carried_out
        result.save(out / pipeline.FILE)
        files = write_source_files(out, self.float_model, self.by_recipe, compressed)
        row = partial(pipeline.result_row, out, self.bench, result, compressed, self.float_evaluation)
        self.book.row("4", "whole pipeline", row)
        sizes: dict[str, Row] = {
            name: {"bytes": size, "ratio": result.float_bytes / size} for name, size in result.rivals.items()
        }
        sizes |= {path.name: {"bytes": path.stat().st_size} for path in files}
        for name, size in sizes.items():
            self.book.row("4", name, size.copy)

    def keep_weights(self) -> None:
        """Keeps the largest layer's non-zero weights, before sharing and after, for the page's histograms."""
        if not self.book.of("1") or self.book.load(WEIGHTS) is not None:
            return
        models = {"before": self.pruned} | {f"{bits} bits": self.shared(bits) for bits in self.settings.bits}
        layers = {what: dict(weighted_layers(model)) for what, model in models.items()}
        largest = max(layers["before"], key=lambda name: layers["before"][name].weight.numel())
        weights = {what: named[largest].weight.detach().cpu() for what, named in layers.items()}
        self.book.save(WEIGHTS, {"layer": largest, "weights": {k: w[w != 0] for k, w in weights.items()}})
