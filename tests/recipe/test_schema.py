"""Recipes: every fault is one line that says where and what."""

from __future__ import annotations

from typing import Any

import pytest

from pithnet.errors import RecipeError
from pithnet.recipe import Distill, Keep, Prune, Recipe, Share, Step, Train, parse


def recipe(**changes: Any) -> dict[str, Any]:
    return {"name": "mine", "steps": [{"prune": {"sparsity": 0.5}}], **changes}


def steps(*parts: dict[str, Any]) -> dict[str, Any]:
    return recipe(steps=list(parts))


FAULTS = [
    (recipe(stepps=[]), "mine.yaml: unknown key 'stepps'. Did you mean steps?"),
    (steps({"prun": {}}), "mine.yaml: unknown key 'steps.0.prun'. Did you mean prune?"),
    (steps({"prune": {"sparsty": 0.5}}), "unknown key 'steps.0.prune.sparsty'. Did you mean sparsity?"),
    (steps({"share": {"bitz": 4}}), "unknown key 'steps.0.share.bitz'. Did you mean bits?"),
    (steps({"train": {"epochs": 1, "LR": 1}}), "unknown key 'steps.0.train.LR'"),
    (recipe(distill={"wait": 1}), "unknown key 'distill.wait'. Did you mean weight?"),
    (recipe(storage={"nrm": "float16"}), "unknown key 'storage.nrm'. Did you mean norm?"),
    (recipe(steps=[]), "steps: Tuple should have at least 1 item"),
    ({"steps": [{"train": {"epochs": 1}}]}, "key 'name' is missing"),
    (steps({"train": {"lr": 0.1}}), "key 'steps.0.train.epochs' is missing"),
    (steps({"prune": {"sparsity": 1.5}}), "steps.0.prune.sparsity: .* less than or equal to 1 .got 1.5."),
    (steps({"prune": {"sparsity": -0.1}}), "steps.0.prune.sparsity: .* greater than or equal to 0"),
    (steps({"prune": {"sparsity": float("nan")}}), "steps.0.prune.sparsity: .*finite"),
    (steps({"train": {"epochs": 1, "lr": float("inf")}}), "steps.0.train.lr: .*finite"),
    (steps({"train": {"epochs": 0}}), "steps.0.train.epochs"),
    (steps({"train": {"epochs": 1, "warmup": 1.0}}), "steps.0.train.warmup: .* less than 1"),
    (steps({"train": {"epochs": 1, "schedule": "one cycle"}}), "steps.0.train.schedule: .*'one-cycle'"),
    (steps({"share": {"bits": 0}}), "steps.0.share.bits: .* greater than or equal to 1 .got 0."),
    (steps({"share": {"bits": 17}}), "steps.0.share.bits: .* less than or equal to 16 .got 17."),
    (steps({"share": {"levels": 65_536}}), "steps.0.share.levels"),
    (steps({"share": {"bits": 2, "levels": 4}}), "steps.0.share: give either bits or levels"),
    (steps({"share": {}}), "steps.0.share: give either bits or levels"),
    (
        steps({"regularize": {"parameters": {"k": 3}}, "train": {"epochs": 1}}),
        "k is no parameter of the regularizer",
    ),
    (steps({"quantize": {"bits": 4, "quantizer": "lsq", "group_size": 1}}), "greater than or equal to 2"),
    (steps({"prune": {}}), "steps.0.prune: give either sparsity or std"),
    (steps({"prune": {"std": 1.0, "ramp": 0.5}}), "steps.0.prune: std prunes once; a ramp needs sparsity"),
    (
        steps({"prune": {"std": 1.0, "granularity": "filter"}}),
        "std prunes single weights; a granularity needs",
    ),
    (steps({"prune": {"granularity": 124}}), 'reads N:M without quotes as a time; write it as in "2:4"'),
    (
        steps({"prune": {"granularity": "2:4", "ramp": 0.5}, "train": {"epochs": 1}}),
        "steps.0.prune: 2:4 has one sparsity, which cannot rise; leave out the ramp",
    ),
    (steps({}), "steps.0: a step needs prune, share, regularize, shrink, quantize, post_training or train"),
    (steps({"prune": {"std": 1}, "share": {"bits": 1}}), "steps.0: prune and share are two steps"),
    (
        steps({"prune": {"sparsity": 0.5, "ramp": 0.5}}),
        "steps.0: prune 0.5 works while a training runs: give train beside prune",
    ),
    (
        steps({"share": {"bits": 2, "trained": True}}),
        "steps.0: share 4 levels works while a training runs: give train beside share",
    ),
    (
        steps({"regularize": {"kind": "l1"}}),
        "steps.0: regularize l1 works while a training runs: give train beside regularize",
    ),
    (steps({"regularize": {}, "share": {"bits": 1}}), "steps.0: share and regularize are two steps"),
    (steps({"regularize": {"strength": -1}}), "steps.0.regularize.strength: .* greater than or equal to 0"),
    (steps({"regularize": {"strenght": 1}}), "steps.0.regularize.strenght'. Did you mean strength"),
    (steps({"regularize": {"until": 0}}), "steps.0.regularize.until: .* greater than 0"),
    (steps({"regularize": {"how": "prox"}}), "steps.0.regularize.how: .*'proximal'"),
    (
        steps({"quantize": {"bits": 9, "quantizer": "lsq"}}),
        "steps.0.quantize.bits: .* less than or equal to 8 .got 9.",
    ),
    (steps({"quantize": {"bit": 4}}), "unknown key 'steps.0.quantize.bit'. Did you mean bits?"),
    (
        steps({"quantize": {"bits": 4, "quantizer": "lsq"}, "prune": {"sparsity": 0.5}}),
        "steps.0: prune and quantize are two steps",
    ),
    (recipe(seed=2**70), "seed: generators of random numbers take 64 bits"),
    (recipe(steps=None), "steps: write a list here"),
    (steps({"prune": 3}), "steps.0.prune: write a mapping here"),
    (
        steps({"prune": {"sparsity": True}}),
        "steps.0.prune.sparsity: true and false go where a key is on or off",
    ),
    (steps({"prune": {"sparsity": 0.5, "skip": "conv1"}}), "steps.0.prune.skip: write a list here"),
    (steps({"quantize": {}}), "key 'steps.0.quantize.bits' is missing"),
    (steps({"shrink": {"macs": 1.5}}), "steps.0.shrink.macs: .*1.5 is neither a share up to 1 nor a whole"),
    (steps({"post_training": {"bytes": 1.5}}), "steps.0.post_training.bytes: .*neither a share"),
    (steps({"train": {"epochs": 1, "optimizer": "adam"}}), "steps.0.train.optimizer: .*'adamw'"),
    (steps({"train": {"epochs": 1, "clip_norm": 0}}), "steps.0.train.clip_norm: .* greater than 0"),
    (
        steps({"quantize": {"bits": 4, "quantizer": "lsq", "granularity": "layer"}}),
        "steps.0.quantize.granularity: .*'channel'",
    ),
    (recipe(distill={"weight": 2}), "distill.weight"),
    (recipe(storage={"norm": "int4"}), "storage.norm: .*'fixed8'"),
    (recipe(batch_size=0), "batch_size"),
    (recipe(seed="x"), "seed: .*integer.* .got 'x'."),
    (None, "mine.yaml: recipe: "),
    (["prune"], "mine.yaml: recipe: "),
]


@pytest.mark.parametrize(("content", "message"), FAULTS, ids=[m.split(": ")[-1][:40] for _, m in FAULTS])
def test_a_fault_is_one_line_with_its_place(content: object, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        parse(content, "mine.yaml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("mine.yaml: ")


def test_what_is_left_out_has_its_default() -> None:
    found = parse(steps({"prune": {"sparsity": 0.7}, "train": {"epochs": 2}}, {"share": {"bits": 3}}), "x")
    assert found == Recipe(
        name="mine",
        steps=(Step(prune=Prune(sparsity=0.7), train=Train(epochs=2)), Step(share=Share(bits=3))),
        distill=Distill(),
        storage=Keep(),
    )
    assert found.epochs == 2
    assert [step.title for step in found.steps] == ["prune 0.7", "share 8 levels"]


def test_a_step_is_called_by_what_it_does() -> None:
    titles = [Step(prune=Prune(std=0.5)), Step(share=Share(levels=6)), Step(train=Train(epochs=1))]
    assert [step.title for step in titles] == ["prune 0.5 std", "share 6 levels", "train"]
    assert Step(prune=Prune(sparsity=0.25, granularity="filter")).title == "prune filter 0.25"


@pytest.mark.parametrize(("pattern", "sparsity"), [("2:4", 0.5), ("1:4", 0.75), ("1:3", 1 - 1 / 3)])
def test_a_pattern_of_n_in_m_is_a_sparsity(pattern: str, sparsity: float) -> None:
    (step,) = parse(steps({"prune": {"granularity": pattern}}), "x").steps
    assert step.prune is not None
    assert (step.prune.sparsity, step.prune.granularity) == (sparsity, pattern)
    assert step.title == f"prune {pattern}"
