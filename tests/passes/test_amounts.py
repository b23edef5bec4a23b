"""Some layers have amounts of their own: of zeros and levels, at once and on a ramp, planned and done."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pithnet as pn
from pithnet.errors import RecipeError
from pithnet.passes import GradualPruning, LevelTraining


def net() -> nn.Module:
    torch.manual_seed(0)
    return pn.zoo.build("digits-cnn", width=4)


SIZES = {row.name: row.size for row in pn.prune(net(), 0.0).layers}


@pytest.mark.parametrize("scope", ["global", "uniform", "erk"])
def test_layers_with_a_share_of_their_own_have_it_exactly_and_the_others_the_rest(scope: str) -> None:
    record = pn.prune(net(), 0.6, scope=scope, overrides={"conv*": 0.5, "conv1": 0.25})
    zeros = {row.name: row.zeros for row in record.layers}
    assert zeros["conv1"] == round(0.25 * SIZES["conv1"])
    assert zeros["conv2"] == round(0.5 * SIZES["conv2"])
    others = [name for name in SIZES if not name.startswith("conv")]
    assert sum(zeros[n] for n in others) == round(0.6 * sum(SIZES[n] for n in others))


def test_they_rise_on_a_ramp() -> None:
    model = net()
    ramp = GradualPruning(model, 0.8, ramp=0.5, schedule="linear", updates=2, overrides={"conv2": 0.4})
    ramp(0.0)
    middle = {row.name: row.zeros for row in ramp.record.layers}
    assert middle["conv2"] == round(0.2 * SIZES["conv2"])
    ramp(1.0)
    last = {row.name: row.zeros for row in ramp.record.layers}
    assert last["conv2"] == round(0.4 * SIZES["conv2"])
    others = [name for name in SIZES if name != "conv2"]
    assert sum(last[n] for n in others) == round(0.8 * sum(SIZES[n] for n in others))


def test_levels_are_those_of_the_last_pattern_that_fits() -> None:
    record = pn.share(net(), 4, overrides={"conv*": 3, "conv2": 1, "linear": 2})
    assert {row.name: row.levels for row in record.layers} == {
        "conv1": 8,
        "conv2": 2,
        "conv3": 8,
        "linear": 4,
    }


def test_plans_have_them_too() -> None:
    steps = [
        {"prune": {"sparsity": 0.5, "overrides": {"conv2": 0.9}}},
        {"share": {"levels": 8, "overrides": {"conv3": 3}}},
    ]
    plan = pn.plan(net(), {"steps": steps})
    rows = {layer.name: layer for layer in plan.layers}
    assert rows["conv2"].zeros == round(0.9 * SIZES["conv2"])
    assert rows["conv3"].levels == 3
    result = pn.compress(net(), recipe={"steps": steps}, rivals=False)
    stored = {t.name: t for t in result.result.inspection.tensors}
    for name, row in rows.items():
        assert (row.zeros, row.levels) == (stored[f"{name}.weight"].zeros, stored[f"{name}.weight"].levels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: pn.prune(m, 0.5, overrides={"convv": 0.5}),
            "'convv' matches no layer that is pruned",
        ),
        (lambda m: pn.prune(m, 0.5, overrides={"conv1": 1.5}), "from 0 to 1, not 1.5"),
        (
            lambda m: pn.prune(m, granularity="2:4", overrides={"conv1": 0.3}),
            "has the sparsity 0.5",
        ),
        (lambda m: pn.share(m, 4, overrides={"conv1": 17}), "bits must be from 1 to 16, not 17"),
        (lambda m: pn.share(m, levels=4, overrides={"fc": 2}), "'fc' matches no layer that is shared"),
        (lambda m: LevelTraining(m, levels=4, overrides={"conv1": 0}), "levels must be from 1 to 65535"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(change: object, message: str) -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RecipeError, match=message):
        change(model)  # type: ignore[operator]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
