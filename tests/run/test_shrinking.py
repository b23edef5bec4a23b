"""A recipe that removes channels: it does what was planned, goes on after a crash, or is refused before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pithnet as pn
from pithnet.errors import ModelError, RecipeError
from pithnet.passes import Given
from pithnet.passes.file_size import file_bytes
from pithnet.passes.shrinking.budgets import Asked
from pithnet.passes.shrinking.choices import Rules
from pithnet.passes.shrinking.gradual import GradualShrinking
from pithnet.passes.shrinking.ranking import Ranking
from pithnet.recipe import Recipe, parse
from pithnet.results import Store
from pithnet.run.compression import carry_out
from pithnet.run.plan import make_plan
from pithnet.run.problem import prepare
from tests.run.running import Crash, Shown
from tests.run.test_compression import network, training

X = torch.zeros(1, 1, 8, 8)
LATER: list[dict[str, Any]] = [{"prune": {"sparsity": 0.5}}, {"share": {"bits": 2}}]


def recipe(shrink: dict[str, Any], *later: dict[str, Any], epochs: int = 2) -> Recipe:
    first = {"shrink": {"round_to": 1, **shrink}, "train": {"epochs": epochs, "lr": 0.01}}
    return parse({"name": "smaller", "steps": [first, *later]}, "test")


def widths(model: nn.Module) -> list[int]:
    return [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("budget", [{"macs": 0.5}, {"parameters": 0.6, "scope": "uniform"}, {"bytes": 0.7}])
def test_what_is_planned_is_what_comes_out(budget: dict[str, Any]) -> None:
    steps = recipe(budget, *LATER)
    plan = make_plan(network(), steps, Given(example=X))
    result = carry_out(prepare(network(), steps, train=training()))
    by_name = {layer.name: layer for layer in plan.layers}
    assert [by_name[f"conv{i}"].shape[0] for i in (1, 2, 3)] == widths(result.model)
    assert widths(result.model) != [4, 8, 8]
    assert result.removed is not None
    assert plan.macs == result.removed.macs[1] == pn.costs(result.model, X).macs
    rows = {row.name: row for row in plan.steps[0].rows}
    assert rows["conv3"].outputs == widths(result.model)[2]
    assert rows["conv3"].size == result.model.get_parameter("conv3.weight").numel()
    assert "x fewer), parameters 1,030 -> " in str(result)
    assert result.rivals["float16 + zstd"] < 2 * pn.costs(network(), X).parameters  # of the smaller network


def test_bytes_are_those_that_the_whole_recipe_is_planned_to_leave() -> None:
    full = make_plan(network(), parse({"name": "whole", "steps": LATER}, "test")).bytes
    for share in (0.9, 0.6):
        plan = make_plan(network(), recipe({"bytes": share}, *LATER), Given(example=X))
        assert plan.bytes <= share * full
        looser = make_plan(network(), recipe({"bytes": plan.bytes + 30}, *LATER), Given(example=X))
        assert plan.bytes <= looser.bytes <= plan.bytes + 30


@pytest.mark.parametrize("ramp", [0.0, 0.9])
@pytest.mark.parametrize("crash_at", [1, 2, 3])
def test_a_crash_changes_nothing(tmp_path: Path, ramp: float, crash_at: int) -> None:
    steps = recipe({"macs": 0.5, "ramp": ramp}, {"train": {"epochs": 1}})
    problem = prepare(network(), steps, train=training())
    with Store.create(tmp_path / "whole", {}) as store:
        whole = carry_out(problem, store, with_rivals=False)
        done = store.events("pass")
    with Store.create(tmp_path / "cut", {}) as store, pytest.raises(Crash):
        carry_out(problem, store, Shown(crash_at=crash_at), with_rivals=False)
    with Store.open(tmp_path / "cut") as store:
        assert carry_out(problem, store, with_rivals=False).data == whole.data
        assert store.events("pass") == done
    assert done[0]["what"] == "shrink to macs 0.5"
    assert {row["name"]: row["outputs"] for row in done[0]["layers"]}["conv3"] == widths(whole.model)[2]


def test_on_a_ramp_more_and_more_channels_are_zero_and_stay_so() -> None:
    model = network()
    ramp = GradualShrinking(
        model,
        X,
        asked=Asked("global", {"macs": 0.4}),
        ranking=Ranking(),
        rules=Rules(1, 0.0, ()),
        weigh=file_bytes,
        ramp=0.8,
        updates=4,
    )
    before: frozenset[int] = frozenset()
    for done in (0.0, 0.25, 0.5, 0.75, 1.0):
        ramp(done)
        assert ramp.plan is not None
        assert ramp.plan.removed >= before
        before = ramp.plan.removed
        with torch.no_grad():
            expected = ramp.plan.cut().eval()(X + 1)
            assert torch.allclose(model.eval()(X + 1), expected, rtol=1e-4, atol=1e-6)
            for value in model.parameters():  # what is gone grows again in a step of training
                value.add_(0.01 * value.std())
            ramp(done)
        assert ramp.plan.removed == before
        assert int((model.get_parameter("bn3.weight") == 0).sum()) == 8 - ramp.plan.widths["conv3"]
    assert ramp.plan.macs <= 0.4 * ramp.plan.full_macs
    again = GradualShrinking(
        model, X, asked=ramp.asked, ranking=ramp.ranking, rules=ramp.rules, weigh=file_bytes, ramp=0.8
    )
    again.load_state_dict(ramp.state_dict())
    assert again.plan is not None
    assert again.plan.removed == before


def test_a_share_of_the_bytes_on_a_ramp_is_one_of_the_float_network() -> None:
    model, settings = network(), {"round_to": 1, "scope": "uniform"}
    at_once = pn.plan_shrink(network(), X, bytes=0.5, **settings)
    asked, rules = Asked("uniform", {"bytes": 0.5}), Rules(1, 0.1, ())
    options: dict[str, Any] = {"asked": asked, "ranking": Ranking(), "rules": rules, "weigh": file_bytes}
    ramp = GradualShrinking(model, X, **options, ramp=1.0, updates=4)
    for done in (0.0, 0.3, 0.6):
        ramp(done)
    again = GradualShrinking(model, X, **options, ramp=1.0, updates=4)  # its zeros take few bytes by now
    again.load_state_dict(ramp.state_dict())
    again(1.0)
    assert again.plan is not None
    assert again.plan.widths == at_once.widths


@pytest.mark.parametrize("kind", ["slimming", "group-lasso", "growing"])
def test_a_penalty_makes_channels_small_and_a_crash_changes_nothing(tmp_path: Path, kind: str) -> None:
    options = {"penalty": kind, "strength": 0.01, "until": 0.6, "updates": 3, "patience": 2}
    steps = recipe({"macs": 0.5, **options}, {"train": {"epochs": 1}}, epochs=3)
    problem = prepare(network(), steps, train=training())
    with Store.create(tmp_path / "whole", {}) as store:
        whole = carry_out(problem, store, with_rivals=False)
    for crash_at in (1, 3):
        with Store.create(tmp_path / f"cut-{crash_at}", {}) as store, pytest.raises(Crash):
            carry_out(problem, store, Shown(crash_at=crash_at), with_rivals=False)
        with Store.open(tmp_path / f"cut-{crash_at}") as store:
            assert carry_out(problem, store, with_rivals=False).data == whole.data
    assert widths(whole.model) != widths(network())
    assert pn.costs(whole.model, X).macs <= 0.5 * pn.costs(network(), X).macs


def test_a_tight_budget_of_bytes_under_a_penalty_is_the_same_after_a_crash(tmp_path: Path) -> None:
    options = {"penalty": "growing", "strength": 0.01, "until": 0.3, "updates": 1, "floor": 0.25}
    steps = recipe({"bytes": 0.45, **options}, *LATER, epochs=3)
    problem = prepare(network(), steps, train=training())
    whole = carry_out(problem, with_rivals=False)
    with Store.create(tmp_path / "cut", {}) as store, pytest.raises(Crash):
        carry_out(problem, store, Shown(crash_at=3), with_rivals=False)  # when channels are zero already
    with Store.open(tmp_path / "cut") as store:
        assert carry_out(problem, store, with_rivals=False).data == whole.data
    assert sum(widths(whole.model)) < sum(widths(network()))


def test_a_shrunk_network_is_exported_in_int8(tmp_path: Path) -> None:
    steps = recipe({"macs": 0.5}, epochs=1)
    result = pn.compress(network(), training(), recipe=steps, rivals=False)
    exported = pn.export_int8(result.model, training(), tmp_path / "small.onnx")
    assert exported.bytes == (tmp_path / "small.onnx").stat().st_size


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"shrink": {}}], "give one of macs, parameters, bytes, rates; given: none"),
        ([{"shrink": {"macs": 0.5, "bytes": 0.5}}], "given: macs and bytes"),
        ([{"shrink": {"macs": 0.5, "penalty": "growing"}}], "a penalty has a strength: give both"),
        (
            [{"shrink": {"macs": 0.5, "penalty": "growing", "strength": 0.1, "ramp": 0.5}}],
            "channels go on a ramp or after a penalty; leave out one of them",
        ),
        ([{"shrink": {"macs": 0.5, "until": 0.3}}], "ceiling, until and patience are of a penalty"),
        ([{"shrink": {"macs": 0.5, "ramp": 0.5}}], "works while a training runs: give train beside shrink"),
        ([{"shrink": {"macs": 0.5, "also": ["*"]}}], "also is of no use here: only layers are taken"),
        ([{"shrink": {"macs": -1}}], "macs: Input should be greater than 0"),
        ([{"shrink": {"macs": True}}], "macs: true and false go where a key is on or off"),
        ([{"shrink": {"macs": "0.5"}}], "macs: Input should be a valid number"),
        ([{"shrink": {"rates": {"a": True}}}], "rates.a: Input should be a valid number"),
        (
            [{"shrink": {"macs": 0.5, "round_to": True}}],
            "round_to: true and false go where a key is on or off",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(steps: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse({"name": "x", "steps": steps}, "test")


@pytest.mark.parametrize(
    ("steps", "example", "error", "message"),
    [
        (
            [{"shrink": {"macs": 0.5}}],
            None,
            RecipeError,
            "shrink to macs 0.5 needs an input to run the model on",
        ),
        ([{"shrink": {"macs": 1e-4, "round_to": 1}}], X, RecipeError, "macs=0.0001 cannot be kept"),
        (
            [{"shrink": {"macs": 1.5}}],
            X,
            RecipeError,
            "macs: .*neither a share up to 1 nor a whole number",
        ),
        ([{"shrink": {"rates": {"con1": 0.5}, "round_to": 1}}], X, RecipeError, "Did you mean conv1"),
        ([{"shrink": {"macs": 0.5, "criterion": "l3"}}], X, RecipeError, "unknown criterion 'l3'"),
        ([{"share": {"bits": 2}}, {"shrink": {"macs": 0.5}}], X, RecipeError, "shrink before"),
        ([{"shrink": {"macs": 0.5}}], torch.zeros(1, 3, 8, 8), ModelError, "does not run on the example"),
    ],
)
def test_what_cannot_be_done_is_refused_by_the_plan(
    steps: list[dict[str, Any]], example: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_plan(network(), parse({"name": "x", "steps": steps}, "test"), Given(example=example))
