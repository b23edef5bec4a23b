"""The whole of Deep Compression as a recipe's run, its file, and the two ways to count what was gained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from pithnet import artifact
from pithnet.artifact import Metadata
from pithnet.coding.prefix import code_lengths
from pithnet.commands.inputs import Teacher
from pithnet.data import Batches
from pithnet.labs.deep_compression.source_files import shared_layers
from pithnet.labs.notebook import STATES, Notebook, Row
from pithnet.labs.training import accuracy_columns
from pithnet.labs.workbench import Workbench
from pithnet.learn import Evaluation, evaluate
from pithnet.recipe import Recipe, Step
from pithnet.results import Store
from pithnet.results.store import SETTINGS
from pithnet.run.compression import carry_out
from pithnet.run.problem import prepare
from pithnet.run.result import Result

PRUNED = "pruned"  # the notebook's state after the last pruning step
FILE = "model.pith"


def shortened(recipe: Recipe, factor: int) -> Recipe:
    """Returns the recipe with `factor` times fewer epochs in each step, at least one, and two views."""
    steps = []
    for step in recipe.steps:
        if step.train is not None:
            train = replace(step.train, epochs=max(1, step.train.epochs // factor))
            step = step.model_copy(update={"train": train})
        steps.append(step)
    distill = recipe.distill.model_copy(update={"views": min(2, recipe.distill.views)})
    return recipe.model_copy(update={"steps": tuple(steps), "distill": distill})


def compress(book: Notebook, bench: Workbench, recipe: Recipe, model: nn.Module) -> tuple[Result, nn.Module]:
    """Carries the recipe out on a float `model`, and goes on where an earlier process stopped.

    The bench's teacher, where it is a network of its own, teaches it; else the float model does, as far as
    the recipe distils. The network after pruning is the notebook's state PRUNED.

    Returns:
        The result, and the network with codebooks, before it is finalized.
    """
    path = book.path / STATES / "pipeline"
    asked = None if bench.teacher is None else bench.teacher.trained
    problem = prepare(
        model,
        recipe,
        train=bench.training_batches(recipe.augment),
        test=bench.test_batches(),
        metadata=_metadata(bench, recipe),
        teacher=None if asked is None else asked.model,
        teacher_batches=None if asked is None else _as_seen_by(asked, bench, recipe),
        cache=path / "cache",
    )

    def keep_pruned(number: int, step: Step, now: nn.Module) -> None:
        if step.kind in ("prune", "regularize"):
            book.save(PRUNED, {"model": now.state_dict()})

    torch.manual_seed(recipe.seed)
    begun = (path / SETTINGS).exists()
    with Store.open(path) if begun else Store.create(path, book.facts) as store:
        result = carry_out(problem, store, book.progress, after_step=keep_pruned)
    assert result.compressed is not None
    return result, result.compressed


def _as_seen_by(teacher: Teacher, bench: Workbench, recipe: Recipe) -> Batches:
    """The training images as the teacher expects them."""
    return bench.images.train_batches(bench.batch_size, teacher.normalization, recipe.augment, bench.seed)


def _metadata(bench: Workbench, recipe: Recipe) -> Metadata:
    n = bench.normalization
    return Metadata(
        architecture=bench.architecture,
        normalization=(n.mean, n.std),
        dataset=bench.images.name,
        recipe=recipe.name,
    )


def result_row(out: Path, bench: Workbench, result: Result, shared: nn.Module, start: Evaluation) -> Row:
    """Measures model.pith loaded from disk: accuracy, bytes, and the compression by the source's formula."""
    loaded = artifact.load(out / FILE).to(bench.device)
    x = next(iter(bench.test_batches()))[0]
    assert x is not None
    with torch.inference_mode():
        identical = torch.equal(*(model(x.to(bench.device)) for model in (loaded, result.model)))
    row = accuracy_columns(evaluate(loaded, bench.test_batches()), start.correct)
    return (
        row
        | formula_columns(shared)
        | {
            "accuracy_before": start.accuracy,
            "bytes": result.bytes,
            "float_bytes": result.float_bytes,
            "ratio": result.ratio,
            "parts": dict(result.inspection.parts),
            "logits_identical_after_reload": identical,
        }
    )


def formula_columns(shared: nn.Module) -> Row:
    """Computes the source's formula, nonzero / total x huffman_length / 32, and its inverse.

    Only weights with codebooks are counted; positions, codebooks, BN, biases and headers are not.
    """
    layers = shared_layers(shared)
    nonzeros = sum(int(layer.counts.sum()) for layer in layers)
    code_bits = sum(int(layer.counts @ code_lengths(layer.counts).astype(int)) for layer in layers)
    total = sum(layer.mask.size for layer in layers)
    return {
        "nonzero_share": nonzeros / total,
        "quant_bits": (max(len(layer.values) for layer in layers) - 1).bit_length(),
        "huffman_length": code_bits / nonzeros if nonzeros else 0.0,
        "formula_ratio": 32 * total / code_bits if code_bits else 0.0,
    }
