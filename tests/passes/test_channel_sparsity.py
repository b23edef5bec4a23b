"""Penalties on channels: each step is the one of its formula, and what they make small can go."""

from __future__ import annotations

import copy
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet import ModelError, RecipeError
from pithnet.data import ArrayData, Batches, Normalization
from pithnet.data.digits import load_digits
from pithnet.learn import Trainer, Training
from pithnet.passes import PENALTIES, ChannelSparsity, GroupPenalty, ShrinkPlan, StableChoice
from tests.passes.test_channel_criteria import X, residual
from tests.surgery.channels.networks import TOYS, conv

OWN = (
    "a.weight",
    "a.bias",
    "c.weight",
    "c.bias",
    "norm_a.weight",
    "norm_a.bias",
    "norm_c.weight",
    "norm_c.bias",
)
LR, MOMENTUM = 0.02, 0.5
STEP = LR / (1 - MOMENTUM)


def planned(model: nn.Module, **settings: Any) -> ShrinkPlan:
    return pn.plan_shrink(model, X, rates={"a": 0.5, "b": 0.6}, round_to=1, **settings)


def stepped(penalty: GroupPenalty, model: nn.Module) -> None:
    """A step of an optimizer that has no gradient: the penalty's alone."""
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM)
    penalty.attach(optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()


def channel(state: dict[str, Tensor], number: int) -> Tensor:
    """All that makes one of the channels that layers a and c share."""
    return torch.cat([state[name][number].flatten() for name in OWN])


def test_slimming_takes_the_soft_threshold_of_scales_and_nothing_else() -> None:
    model = residual()
    before = copy.deepcopy(model.state_dict())
    stepped(GroupPenalty(planned(model), "slimming", strength=5.0), model)
    for name, value in model.state_dict().items():
        expected = before[name]
        if name in ("norm_a.weight", "norm_b.weight", "norm_c.weight"):
            expected = expected.sign() * (expected.abs() - 5.0 * STEP).clamp(min=0)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-15)


def test_the_group_lasso_shortens_all_that_makes_a_channel() -> None:
    model = residual()
    before = copy.deepcopy(model.state_dict())
    penalty = GroupPenalty(planned(model), "group-lasso", strength=0.2)
    numbers = planned(model).channels.groups_of("a")[0].channels
    norms = penalty.norms()
    stepped(penalty, model)
    for place, number in enumerate(numbers):
        old, new = channel(before, place), channel(model.state_dict(), place)
        assert abs(norms[number] - float(old.norm())) <= 1e-12
        shorter = max(1 - STEP * 0.2 * len(old) ** 0.5 / float(old.norm()), 0)
        torch.testing.assert_close(new, shorter * old, rtol=1e-9, atol=1e-15)
    assert torch.equal(model.out.weight, before["out.weight"])


def test_the_growing_penalty_is_on_channels_that_are_to_go_and_grows() -> None:
    model = residual()
    before, plan = copy.deepcopy(model.state_dict()), planned(model)
    penalty = GroupPenalty(plan, "growing", strength=3.0, ceiling=8.0)
    numbers = plan.channels.groups_of("a")[0].channels
    stayed = next(n for n in numbers if n not in plan.removed)
    penalty.grow({stayed})
    for strength in (3.0, 6.0, 8.0, 8.0):
        penalty.grow(plan.removed)
        model.load_state_dict(before)
        other = copy.deepcopy(penalty)
        with torch.no_grad():
            other.after_step([STEP] * len(other.terms))
        (found,) = (term for group, term in other.groups if group.channels == numbers)
        rows = found.read()
        for place, number in enumerate(numbers):
            factor = 1 / (1 + STEP * strength) if number in plan.removed else 1.0
            torch.testing.assert_close(
                rows[place].norm(), factor * channel(before, place).norm(), rtol=1e-9, atol=0
            )


def test_channels_held_are_zero_after_every_step() -> None:
    model = residual()
    plan = planned(model)
    penalty = GroupPenalty(plan, strength=0.01)
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM)
    penalty.attach(optimizer)
    penalty.hold(plan.removed)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 6, 6, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
    model.eval()
    x = torch.randn(3, 3, 6, 6, dtype=torch.float64)
    assert (plan.cut()(x) - model(x)).abs().max() <= 1e-9
    assert len([norm for norm in penalty.norms().values() if norm == 0]) == len(plan.removed)


def digits(count: int = 400) -> Batches:
    data = load_digits("train")
    return Batches(
        ArrayData(data.images[:count], data.labels[:count]), 50, Normalization((0.3,), (0.4,)), shuffle=True
    )


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        conv(1, 12, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
        conv(12, 12, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 10),
    )  # fmt: skip


def trained(model: nn.Module, schedule: Any = None, epochs: int = 4) -> Trainer:
    trainer = Trainer(model, digits(), Training(epochs, lr=0.1, weight_decay=0.0), before_step=schedule)
    for _ in trainer.run():
        pass
    return trainer


EXAMPLE, HALF = torch.zeros(1, 1, 8, 8), {"macs": 0.5, "round_to": 1}


@pytest.mark.parametrize(
    ("kind", "strength", "criterion"),
    [("slimming", 0.1, "slimming"), ("group-lasso", 0.01, "l2"), ("growing", 0.2, "l1")],
)
def test_penalised_channels_end_smaller_than_without(kind: str, strength: float, criterion: str) -> None:
    model, plain = small(), small()
    schedule = ChannelSparsity(
        model, EXAMPLE, kind, strength=strength, until=1.0, updates=4, criterion=criterion, **HALF
    )
    for network, before_step in ((model, schedule), (plain, None)):
        trainer = Trainer(network, digits(), Training(4, lr=0.05, weight_decay=0.0), before_step=before_step)
        for record in trainer.run():
            if record.epoch == 3:
                break
    assert schedule.penalty.held is None
    chosen = pn.plan_shrink(model, EXAMPLE, criterion=criterion, **HALF).removed
    found = schedule.penalty.norms()
    without = GroupPenalty(pn.plan_shrink(plain, EXAMPLE, **HALF), kind, strength=1.0).norms()
    assert chosen
    assert sum(found[n] for n in chosen) < 0.8 * sum(without[n] for n in chosen)


def test_a_choice_is_stable_after_patience() -> None:
    stable = StableChoice(2)
    assert [stable(choice) for choice in ({1}, {1}, {2}, {2}, {2}, {2}, {3})] == [
        False, False, False, False, True, True, False,
    ]  # fmt: skip
    with pytest.raises(RecipeError, match="patience is 0; use 1 or more"):
        StableChoice(0)


@pytest.mark.parametrize("kind", sorted(PENALTIES))
def test_a_training_ends_in_the_network_that_can_be_cut_off(kind: str) -> None:
    model, example = small(), torch.zeros(1, 1, 8, 8)
    schedule = ChannelSparsity(
        model, example, kind, strength=1e-4, until=0.9, updates=20, patience=2, macs=0.5, round_to=1
    )
    trained(model, schedule, epochs=2)
    plan = schedule.finish()
    assert plan.removed == schedule.penalty.held
    cut = plan.cut().eval()
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(cut(x), model.eval()(x), rtol=1e-4, atol=1e-4)
    assert pn.costs(cut, example).macs == plan.macs <= plan.full_macs / 2


@pytest.mark.parametrize("kind", sorted(PENALTIES))
def test_a_training_that_stops_goes_on_to_the_same_numbers(kind: str) -> None:
    example = torch.zeros(1, 1, 8, 8)

    def made(model: nn.Module) -> ChannelSparsity:
        return ChannelSparsity(
            model, example, kind, strength=0.001, until=0.6, updates=4, patience=2, macs=0.5, round_to=1
        )

    whole = small()
    schedule = made(whole)
    trained(whole, schedule, epochs=3)
    for stop in (1, 2):
        first = small()
        trainer = Trainer(first, digits(), Training(3, lr=0.1, weight_decay=0.0), before_step=made(first))
        for record in trainer.run():
            if record.epoch == stop:
                break
        file = io.BytesIO()
        torch.save({"model": first.state_dict(), "trainer": trainer.state_dict()}, file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        second = small()
        resumed = made(second)
        second.load_state_dict(state["model"])
        trainer = Trainer(second, digits(), Training(3, lr=0.1, weight_decay=0.0), before_step=resumed)
        trainer.load_state_dict(state["trainer"])
        for _ in trainer.run():
            pass
        assert all(torch.equal(second.state_dict()[key], value) for key, value in whole.state_dict().items())
        one, other = resumed.finish(), schedule.finish()
        assert (one.removed, one.rows, dict(one.widths)) == (other.removed, other.rows, dict(other.widths))
        assert (one.macs, one.parameters) == (other.macs, other.parameters)


def test_masked_weights_stay_masked() -> None:
    model = residual()
    pn.prune(model, 0.5, skip=("out",))
    zeros = {name: m.weight == 0 for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    stepped(GroupPenalty(planned(model), "group-lasso", strength=0.01), model)
    for name, zero in zeros.items():
        assert torch.equal(model.get_submodule(name).weight == 0, zero)


def test_what_cannot_be_penalised_is_refused() -> None:
    model = residual()
    plan = planned(model)
    with pytest.raises(RecipeError, match=r"unknown penalty on channels 'lasso'\. Did you mean group-lasso"):
        GroupPenalty(plan, "lasso", strength=1.0)
    with pytest.raises(RecipeError, match="strength is a number above 0, not 0"):
        GroupPenalty(plan, strength=0)
    with pytest.raises(RecipeError, match="ceiling is a number above 0, not -1"):
        GroupPenalty(plan, "growing", strength=1, ceiling=-1)
    concat = pn.plan_shrink(TOYS["concat"](), torch.randn(1, 3, 8, 8), macs=0.7, round_to=1)
    with pytest.raises(ModelError, match="slimming has nothing to act on: no norm scales channels"):
        GroupPenalty(concat, "slimming", strength=1.0)
    two = torch.optim.SGD(
        [{"params": model.a.parameters()}, {"params": model.c.parameters(), "lr": 1.0}], 0.1
    )
    with pytest.raises(RecipeError, match="a regularized weight is not in the optimizer"):
        GroupPenalty(plan, strength=1.0).attach(two)
    rest = [p for name, p in model.named_parameters() if not name.startswith("c.")]
    two = torch.optim.SGD([{"params": rest}, {"params": model.c.parameters(), "lr": 1.0}], 0.1)
    with pytest.raises(RecipeError, match="layers whose channels go together need one learning rate"):
        GroupPenalty(plan, strength=1.0).attach(two)
    with pytest.raises(RecipeError, match="until is a share of the training"):
        ChannelSparsity(model, X, strength=1.0, until=0, macs=0.5)
    with pytest.raises(RecipeError, match="updates is 0; use 1 or more"):
        ChannelSparsity(model, X, strength=1.0, updates=0, macs=0.5)


def test_the_page_names_every_criterion_and_penalty_and_its_examples_run() -> None:
    page = (Path(__file__).parents[2] / "docs" / "channels.md").read_text()
    rows = set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE))
    columns = {"criterion", "aggregation"}
    known = {*pn.tensor.CHANNEL_CRITERIA, *pn.tensor.AGGREGATIONS, *PENALTIES}
    assert rows - columns == known
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/channels.md", "exec"), names)
        costs = pn.costs(names["small"], names["plan"].example)
        assert costs.macs <= names["plan"].full_macs / 2


def test_a_share_of_the_bytes_is_one_of_the_network_before_the_penalty() -> None:
    model = residual()
    full = len(pn.encode(pn.finalize(model)))
    schedule = ChannelSparsity(model, X, strength=1e-3, bytes=0.7, round_to=1)
    GroupPenalty(planned(model), strength=1e-3).hold(planned(model).removed)  # zeros, which take few bytes
    expected = pn.plan_shrink(model, X, bytes=int(0.7 * full), round_to=1)
    again = ChannelSparsity(model, X, strength=1e-3, bytes=0.7, round_to=1)
    again.load_state_dict(schedule.state_dict())
    assert pn.plan_shrink(model, X, bytes=0.7, round_to=1).removed != expected.removed
    assert again.finish().removed == schedule.finish().removed == expected.removed
