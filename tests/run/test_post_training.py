"""The step post_training: a file of so many bytes, the same whatever the labels; budgets in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import pithnet as pn
from pithnet.data import ArrayData, Augmentation, Batches
from pithnet.errors import RecipeError
from pithnet.passes.steps.post_training import first_samples
from pithnet.recipe import (
    PostTraining,
    Recipe,
    parse,
    parse_budget,
    with_budget,
    with_calibration,
    with_distillation,
)
from pithnet.run.compression import carry_out
from pithnet.run.plan import make_plan
from pithnet.run.problem import prepare
from tests.run.test_compression import NORMALIZATION, images, network

FLOAT_BYTES = 4280


def recipe(**settings: Any) -> Recipe:
    step = {"post_training": {"bytes": 0.25, "calibrate": 40, **settings}}
    return parse({"name": "small", "steps": [step]}, "test")


def batches(labels: torch.Tensor | None, **options: Any) -> Batches:
    return Batches(ArrayData(images(50).images, labels), 16, NORMALIZATION, **options)


def test_the_file_with_all_that_it_says_keeps_the_budget_whatever_the_labels() -> None:
    labels, test = images(50).labels, Batches(images(40), 20, NORMALIZATION)
    assert labels is not None
    files = []
    for given in (labels.flip(0), None):
        problem = prepare(network(), recipe(), train=batches(given), test=test)
        result = carry_out(problem, with_rivals=False)
        assert 0.95 * FLOAT_BYTES / 4 < result.bytes <= FLOAT_BYTES / 4
        files.append(pn.encode(result.model))
    assert files[0] == files[1]


def test_with_distillation_the_file_keeps_the_budget_whatever_the_labels() -> None:
    labels, test = images(50).labels, Batches(images(40), 20, NORMALIZATION)
    assert labels is not None
    files = []
    for given in (labels.flip(0), None):
        problem = prepare(network(), with_distillation(recipe(), 2), train=batches(given), test=test)
        result = carry_out(problem, with_rivals=False)
        assert 0.9 * FLOAT_BYTES / 4 < result.bytes <= FLOAT_BYTES / 4
        files.append(pn.encode(result.model))
    assert files[0] == files[1]
    assert files[0] != pn.encode(
        carry_out(prepare(network(), recipe(), train=batches(None)), with_rivals=False).model
    )


def test_it_is_calibrated_on_images_without_augmentation() -> None:
    """What follows may train on augmented ones: the levels at first are the same."""
    plain, augmented = batches(None), batches(None, augmentation=Augmentation(1))
    files = [
        carry_out(prepare(network(), recipe(), train=given), with_rivals=False).data
        for given in (plain, augmented)
    ]
    assert files[0] == files[1]


def test_a_training_goes_with_levels_that_are_trained_and_with_no_others() -> None:
    step = {"post_training": {"bytes": 0.25}, "train": {"epochs": 2}}
    with pytest.raises(
        RecipeError, match=r"a training would move the levels of post_training: write trained: true"
    ):
        parse({"name": "moved", "steps": [step]}, "test")
    with pytest.raises(
        RecipeError, match=r"post_training to 0\.25 of the float32 bytes works while a training runs"
    ):
        recipe(trained=True)
    with pytest.raises(RecipeError, match="'demo' has no step post_training, after which it could distil"):
        with_distillation(pn.load_recipe("demo"), 2)
    with pytest.raises(RecipeError, match="a distillation takes 1 epoch or more, not 0"):
        with_distillation(recipe(), 0)


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        ({"bytes": 1_234_567}, "to 1,234,567 bytes"),
        ({"bytes": 0.03125}, "to 0.03125 of the float32 bytes"),
        ({"rate": 1.5, "calibrate": 0}, "to 1.5 bits a weight, without images"),
        ({"bytes": 900, "calibrate": 0, "trained": True}, "to 900 bytes, rounded without images"),
    ],
)
def test_a_title_says_how_small_and_by_what(settings: dict[str, float], title: str) -> None:
    assert PostTraining(**settings).title == title  # type: ignore[arg-type]


def test_no_images_are_needed_where_none_are_looked_at() -> None:
    result = carry_out(prepare(network(), with_calibration(recipe(), 0)), with_rivals=False)
    assert result.bytes <= FLOAT_BYTES / 4
    with pytest.raises(RecipeError, match=r"post_training to 0\.25 of the float32 bytes needs training data"):
        prepare(network(), recipe())


def test_the_plan_expects_about_the_budget() -> None:
    plan = make_plan(pn.zoo.build("digits-cnn"), recipe(bytes=9000))
    assert plan.bytes == pytest.approx(9000, rel=0.1)
    assert plan.coverage.share > 0.99


def test_a_budget_that_zeros_would_exceed_is_refused_by_the_plan() -> None:
    with pytest.raises(
        RecipeError, match=r"zeros for all weights would take \d+ bytes already, more than the 90"
    ):
        make_plan(network(), recipe(bytes=90))


def test_first_samples_are_as_many_as_asked_for_in_order() -> None:
    found = first_samples(batches(None), 20)
    assert [len(part) for part in found] == [16, 4]
    whole = [pn.learn.read_batch(content).inputs for content in batches(None)]
    assert torch.equal(torch.cat(found), torch.cat(whole)[:20])
    assert sum(map(len, first_samples(batches(None), 99))) == 50


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("bytes=63k", {"bytes": 63000}),
        ("macs=0.5,parameters=1.5M", {"macs": 0.5, "parameters": 1_500_000}),
        (" bytes = 2G ", {"bytes": 2 * 10**9}),
        ("rate=2.5", {"rate": 2.5}),
    ],
)
def test_budgets_are_read(text: str, budget: dict[str, float]) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bytes", "budget 'bytes' is not NAME=AMOUNT; write it as in bytes=63k"),
        ("bytes=much", "budget bytes=much is no number"),
        ("bytes=1.5", "neither a share up to 1 nor a whole number"),
        ("bytes=-3", "neither a share up to 1 nor a whole number"),
        ("bytes=nan", "neither a share up to 1 nor a whole number"),
        ("rate=0", "budget rate=0 is no number above 0"),
        ("bytes=1,bytes=2", "budget bytes is given twice"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_budget(text)


def test_a_budget_takes_the_place_of_the_last_step_s_own() -> None:
    steps = [{"shrink": {"macs": 0.5}}, {"post_training": {"rate": 2, "calibrate": 8}}]
    both = parse({"name": "both", "steps": steps}, "test")
    changed = with_budget(both, {"bytes": 9000, "parameters": 0.4})
    first, last = (step.settings for step in changed.steps)
    assert (first.macs, first.parameters, first.bytes) == (None, 0.4, None)  # type: ignore[union-attr]
    assert (last.rate, last.bytes, last.calibrate) == (None, 9000, 8)  # type: ignore[union-attr]
    with pytest.raises(
        RecipeError, match="recipe 'both' takes no budget of ms; it takes bytes, macs, parameters"
    ):
        with_budget(both, {"ms": 3})
    with pytest.raises(
        RecipeError, match="'demo' takes no budget of bytes; none of its steps takes a budget"
    ):
        with_budget(pn.load_recipe("demo"), {"bytes": 3000})
    with pytest.raises(RecipeError, match="give bytes or rate, not both: step 2 keeps one budget"):
        with_budget(both, {"bytes": 9000, "rate": 2})
    with pytest.raises(RecipeError, match="'demo' calibrates on no images"):
        with_calibration(pn.load_recipe("demo"), 8)


def test_a_plan_takes_the_budget_and_the_seed_that_compress_takes() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    sizes = [pn.plan(model, "post-training", budget={"bytes": share}, seed=3).bytes for share in (0.1, 0.2)]
    assert sizes[0] < sizes[1]
    for call in (pn.plan, lambda *a, **k: pn.compress(a[0], None, None, a[1], **k)):
        with pytest.raises(RecipeError, match="a budget is a mapping such as"):
            call(model, "post-training", budget=300)
        with pytest.raises(RecipeError, match="seed: "):
            call(model, "post-training", seed="a")
