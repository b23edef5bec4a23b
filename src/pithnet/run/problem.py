"""What to compress and on what; refused where a run of the recipe would fail later."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pithnet.artifact import Metadata
from pithnet.data import Batches
from pithnet.errors import ModelError, RecipeError
from pithnet.learn import (
    Batch,
    Loss,
    Metric,
    call,
    first_batch,
    has_class_labels,
    resolve_precision,
    seeded,
    try_measuring,
    try_training,
)
from pithnet.passes import Regularization, selected_layers
from pithnet.recipe import Recipe
from pithnet.surgery import evaluating
from pithnet.tensor import get_criterion


@dataclass
class Problem:
    """What to compress, and on what.

    train: batches to fine-tune on, None for recipes without training. test: batches to measure on. teacher:
    who to learn from, the float model itself where None; teacher_batches: the training images as the teacher
    expects them, where its normalisation differs. cache: folder for the teacher's answers. loss, metric:
    functions of (outputs, targets), cross-entropy and accuracy where None. measured_loss: the loss where it
    can be measured in eval mode, too; `check` finds out.
    """

    model: nn.Module
    train: Iterable[Any] | None = None
    test: Iterable[Any] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    teacher: nn.Module | None = None
    teacher_batches: Batches | None = None
    cache: Path | None = None
    loss: Loss | None = None
    metric: Metric | None = None
    measured_loss: Loss | None = None


def check(problem: Problem, recipe: Recipe) -> None:
    """Raises RecipeError, ModelError or DataError for what would fail later, perhaps after hours."""
    if recipe.epochs and problem.train is None:
        raise RecipeError(f"recipe {recipe.name!r} trains for {recipe.epochs} epochs and needs training data")
    for name, value in problem.model.state_dict().items():
        # An extra state may be anything.
        floats = isinstance(value, torch.Tensor) and value.is_floating_point()
        if floats and not bool(torch.isfinite(value).all()):
            raise ModelError(f"{name} holds NaN or inf; train or export the model again")
    _check_passes(problem.model, recipe)
    if recipe.epochs and problem.train is not None:
        _check_training(problem, problem.train, recipe)
    if problem.test is not None:
        measurable = try_measuring(problem.model, problem.test, problem.loss, problem.metric)
        problem.measured_loss = problem.loss if measurable else None


def _check_training(problem: Problem, train: Iterable[Any], recipe: Recipe) -> None:
    loss, distils = problem.loss, recipe.distill.weight > 0
    if loss is not None and recipe.label_smoothing:
        raise RecipeError("label_smoothing belongs to the cross-entropy; leave it out, or leave out loss=")
    first = try_training(problem.model, train, loss)
    if problem.teacher is not None and (distils or (first.targets is None and loss is None)):
        if loss is not None and not _classifies(problem.model, first):
            raise RecipeError(
                "a teacher is learnt from by its class logits, and this model's outputs and targets are of "
                "another task; leave out teacher=, or bring it into your loss"
            )
        try_training(problem.model, train, loss, problem.teacher)
    theirs = problem.teacher_batches
    if not isinstance(train, Batches) or theirs is None or not distils:
        return
    mine = (len(train.data), train.seed, train.augmentation)
    if mine != (len(theirs.data), theirs.seed, theirs.augmentation):
        raise RecipeError(
            "the teacher must see the same images: same data, seed and augmentation in its batches"
        )


def _check_passes(model: nn.Module, recipe: Recipe) -> None:
    shared: set[str] = set()
    for step in recipe.steps:
        what = step.settings
        if what is None:
            continue
        names = {name for name, _ in selected_layers(model, what.skip, what.also)}
        if step.quantize:
            continue
        if step.share:
            shared |= names
            continue
        if shared & names:
            raise RecipeError(
                f"{step.title!r} comes after sharing, but shared weights cannot be pruned; change the order"
            )
        if step.prune:
            get_criterion(step.prune.criterion)
        if step.regularize:
            Regularization(copy.deepcopy(model), **step.regularize.options)


def resolved(
    recipe: Recipe, model: nn.Module, train: Iterable[Any] | None, loss: Loss | None = None
) -> Recipe:
    """The recipe with what the data and the machine decide, so that a resumed run does as the first did.

    distill: weight 1 where the batches have no labels and there is no `loss`, 0 where there is a `loss` and
    the outputs are no class logits. precision: "auto" becomes what is faster here, by a stopwatch; float32
    with a `loss`, which may need more than 8 bits, and without training.
    """
    if not recipe.epochs or train is None:
        return _with(recipe, precision="float32") if recipe.precision == "auto" else recipe
    batch = first_batch(train, "train", next(model.parameters()).device)
    weight = recipe.distill.weight
    if loss is None and batch.targets is None:
        weight = 1.0
    elif loss is not None and weight and not _classifies(model, batch):
        weight = 0.0
    precision: str = recipe.precision
    if precision == "auto":
        precision = "float32" if loss is not None else resolve_precision("auto", model, batch.inputs)
    return _with(recipe, precision=precision, distill=recipe.distill.model_copy(update={"weight": weight}))


def remark(given: Recipe, train: Iterable[Any] | None, loss: Loss | None, taken: Recipe) -> str | None:
    """What `resolved` decided about the distillation against what one may expect, None where nothing."""
    if given.distill.weight and not taken.distill.weight:
        return "outputs and targets are not those of a classification: the recipe's distillation is left out"
    if train is None or not taken.epochs or loss is not None:
        return None
    if first_batch(train, "train").targets is not None:
        return None
    return "the training data has no labels: all is learnt from the teacher's logits (distillation weight 1)"


def _classifies(model: nn.Module, batch: Batch) -> bool:
    with evaluating(model), torch.no_grad(), seeded(0):
        return has_class_labels(call(model, batch.inputs), batch.targets)


def _with(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(update=changes)
