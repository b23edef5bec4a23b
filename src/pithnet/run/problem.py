"""What to compress and on what; refused where a run of the recipe would fail later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pithnet.artifact import Metadata, check_storable
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
from pithnet.passes import Given, Need, pass_of
from pithnet.recipe import Recipe
from pithnet.surgery import check_usable, evaluating


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What to compress, by which recipe, and on what. `prepare` makes one that has been checked.

    Attributes:
        model: The float network; a run never changes it.
        recipe: What is done, with what the data and the machine decide (`resolved`).
        train: Batches to fine-tune on, None for recipes without training.
        test: Batches to measure on, None where nothing is measured.
        metadata: What the file says of the network.
        teacher: Who to learn from; the float network itself where None.
        teacher_batches: The training images as the teacher expects them, where its normalisation differs.
        cache: The folder for the teacher's answers; None keeps them in memory.
        loss: (outputs, targets) -> scalar; the cross-entropy where None.
        metric: (outputs, targets) -> a score per sample; the accuracy where None.
        measured_loss: The loss, where it can be measured in eval mode too.
        remark: What is to be said of the recipe's decisions, None where nothing.
        given: What passes may ask for.
    """

    model: nn.Module
    recipe: Recipe
    train: Iterable[Any] | None = None
    test: Iterable[Any] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    teacher: nn.Module | None = None
    teacher_batches: Batches | None = None
    cache: Path | None = None
    loss: Loss | None = None
    metric: Metric | None = None
    measured_loss: Loss | None = None
    remark: str | None = None
    given: Given = field(default_factory=Given)


def prepare(model: nn.Module, recipe: Recipe, **parts: Any) -> Problem:
    """Makes a problem that has been checked once: what a run would fail at after hours fails here.

    Args:
        model: The float network.
        recipe: What to do.
        **parts: The other attributes of `Problem`, from `train` to `metric`.

    Returns:
        The problem, with the recipe as `resolved` gives it, the remark, and what passes may ask for.

    Raises:
        RecipeError: The recipe needs training data, or a pass needs what there is not.
        ArtifactError: No file holds the model.
        ModelError: A module cannot be used, a weight is NaN or inf, or the outputs are of no classification
            and there is no loss.
        DataError: Batches, labels, loss or metric cannot be used.
    """
    problem = Problem(model=model, recipe=recipe, **parts)
    if recipe.epochs and problem.train is None:
        raise RecipeError(f"recipe {recipe.name!r} trains for {recipe.epochs} epochs and needs training data")
    check_usable(model)
    check_storable(model)
    _require_finite(model)
    first = _first_batch(problem)
    if problem.test is not None:
        measurable = try_measuring(model, problem.test, problem.loss, problem.metric)
        problem = replace(problem, measured_loss=problem.loss if measurable else None)
    taken = resolved(recipe, model, first, problem.loss)
    said = remark(recipe, first, problem.loss, taken)
    return replace(problem, recipe=taken, remark=said, given=_given(problem, first))


def _given(problem: Problem, first: Batch | None) -> Given:
    """What passes may ask for, checked against what those of the recipe need."""
    works = [(pass_of(step), step.title) for step in problem.recipe.steps]
    needs = {title: work.needs for work, title in works if work is not None and work.needs}
    if first is None and problem.train is not None and needs:
        # Nothing is trained, and so nothing has been drawn yet.
        device = next((p.device for p in problem.model.parameters()), None)
        first = first_batch(problem.train, "train", device)
    example = None if first is None else first.inputs
    if example is None and problem.test is not None and any(Need.EXAMPLE in n for n in needs.values()):
        device = next((p.device for p in problem.model.parameters()), None)
        example = first_batch(problem.test, "test", device).inputs
    given = Given(
        seed=problem.recipe.seed,
        batches=problem.train,
        labelled=first is not None and first.targets is not None,
        example=example,
        loss=problem.loss,
    )
    for title, wanted in needs.items():
        given.require(wanted - {Need.WEIGH}, title)
    return given


def _require_finite(model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        # An extra state may be anything.
        floats = isinstance(value, torch.Tensor) and value.is_floating_point()
        if floats and not bool(torch.isfinite(value).all()):
            raise ModelError(f"{name} holds NaN or inf; train or export the model again")


def _first_batch(problem: Problem) -> Batch | None:
    """The first training batch, tried on the model, the teacher and the loss; None without training."""
    recipe, train, loss = problem.recipe, problem.train, problem.loss
    if not recipe.epochs or train is None:
        return None
    if loss is not None and recipe.label_smoothing:
        raise RecipeError("label_smoothing belongs to the cross-entropy; leave it out, or leave out loss=")
    first = try_training(problem.model, train, loss)
    distils = recipe.distill.weight > 0
    if problem.teacher is not None and (distils or (first.targets is None and loss is None)):
        if loss is not None and not _classifies(problem.model, first):
            raise RecipeError(
                "a teacher is learnt from by its class logits, and this model's outputs and targets are of "
                "another task; leave out teacher=, or bring it into your loss"
            )
        try_training(problem.model, train, loss, problem.teacher)
    if distils:
        _check_same_images(train, problem.teacher_batches)
    return first


def _check_same_images(train: Iterable[Any], theirs: Batches | None) -> None:
    if not isinstance(train, Batches) or theirs is None:
        return
    mine = (len(train.data), train.seed, train.augmentation)
    if mine != (len(theirs.data), theirs.seed, theirs.augmentation):
        raise RecipeError(
            "the teacher must see the same images: same data, seed and augmentation in its batches"
        )


def resolved(recipe: Recipe, model: nn.Module, batch: Batch | None, loss: Loss | None = None) -> Recipe:
    """Returns the recipe with what the data and the machine decide, so that a resumed run does as the first.

    The weight of the distillation becomes 1 where the batches have no labels and there is no `loss`, and 0
    where there is a `loss` and the outputs are no class logits. The precision "auto" becomes what is faster
    here, by a stopwatch; it becomes float32 with a `loss`, which may need more than 8 bits, and without
    training.

    Args:
        recipe: The recipe as it was given.
        model: The float network.
        batch: The first training batch; None where nothing is trained.
        loss: The user's own loss, None for the cross-entropy.
    """
    if not recipe.epochs or batch is None:
        return _with(recipe, precision="float32") if recipe.precision == "auto" else recipe
    weight = recipe.distill.weight
    if loss is None and batch.targets is None:
        weight = 1.0
    elif loss is not None and weight and not _classifies(model, batch):
        weight = 0.0
    precision: str = recipe.precision
    if precision == "auto":
        precision = "float32" if loss is not None else resolve_precision("auto", model, batch.inputs)
    return _with(recipe, precision=precision, distill=recipe.distill.model_copy(update={"weight": weight}))


def remark(given: Recipe, batch: Batch | None, loss: Loss | None, taken: Recipe) -> str | None:
    """Says what `resolved` decided about the distillation against what one may expect, None where nothing.

    Args:
        given: The recipe as it was given.
        batch: The first training batch; None where nothing is trained.
        loss: The user's own loss, None for the cross-entropy.
        taken: The recipe as `resolved` gives it.
    """
    if given.distill.weight and not taken.distill.weight:
        return "outputs and targets are not those of a classification: the recipe's distillation is left out"
    if batch is None or not taken.epochs or loss is not None or batch.targets is not None:
        return None
    return "the training data has no labels: all is learnt from the teacher's logits (distillation weight 1)"


def _classifies(model: nn.Module, batch: Batch) -> bool:
    with evaluating(model), torch.no_grad(), seeded(0):
        return has_class_labels(call(model, batch.inputs), batch.targets)


def _with(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(update=changes)
