"""Criteria of channels against a few lines of plain torch, where a shortcut adds channels up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pithnet as pn
from pithnet import DataError, ModelError, RecipeError
from pithnet.passes.shrinking.ranking import Ranking
from pithnet.surgery import find_channels
from tests.surgery.channels.networks import TOYS, Toy, conv, ending

X = torch.randn(1, 3, 6, 6, dtype=torch.float64)


def residual() -> nn.Module:
    """Outputs of a and c are the same channels, those of b are its own; a linear layer has no norm."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.norm_a(m.a(x))
        x = x + m.norm_c(m.c(F.relu(m.norm_b(m.b(x)))))
        return m.out(F.relu(m.hidden(ending(x))))

    torch.manual_seed(0)
    norms = {f"norm_{name}": nn.BatchNorm2d(n) for name, n in (("a", 6), ("b", 5), ("c", 6))}
    model = Toy(
        forward, a=conv(3, 6), b=conv(6, 5), c=nn.Conv2d(5, 6, 1), hidden=nn.Linear(6, 7),
        out=nn.Linear(7, 4), **norms,
    ).double()  # fmt: skip
    for norm in norms.values():
        nn.init.uniform_(norm.weight, -1, 1)
        nn.init.uniform_(norm.bias, -1, 1)
    return model


def scores(model: nn.Module, criterion: str, **settings: Any) -> dict[str, Tensor]:
    """The scores of each group that can lose channels, by its first layer."""
    channels = find_channels(model, X)
    groups = [group for group in channels.groups if group.frozen is None]
    found = Ranking(criterion, **settings).scores(model, channels, groups)
    return {next(iter(group.layers)): own for group, own in zip(groups, found, strict=True)}


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(n, 3, 6, 6, generator=generator), torch.randint(4, (n,), generator=generator))
        for n in sizes
    ]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-15)


def test_l1_is_the_mean_magnitude_of_all_filters_of_a_channel() -> None:
    model = residual()
    found = scores(model, "l1")
    assert set(found) == {"a", "b", "hidden"}
    close(found["b"], model.b.weight.abs().mean((1, 2, 3)))
    both = torch.cat([model.a.weight.flatten(1), model.c.weight.flatten(1)], 1)
    close(found["a"], both.abs().mean(1))


def test_fpgm_is_the_mean_distance_to_the_other_filters() -> None:
    model = residual()
    found = scores(model, "fpgm")
    for name, filters in (
        ("b", model.b.weight.flatten(1)),
        ("a", torch.cat([model.a.weight.flatten(1), model.c.weight.flatten(1)], 1)),
    ):
        distances = [sum((one - other).norm() for other in filters) for one in filters]
        close(found[name], torch.stack(distances) / (len(filters) - 1) / filters.shape[1] ** 0.5)


def test_slimming_is_the_scale_of_the_norms_that_follow() -> None:
    model = residual()
    channels = find_channels(model, X)
    ranking = Ranking("slimming")
    groups = [channels.groups_of(name)[0] for name in ("a", "b", "hidden")]
    assert [len(ranking.members(model, channels, group)) for group in groups] == [2, 1, 0]
    shared, own = ranking.scores(model, channels, groups[:2])
    close(shared, (model.norm_a.weight.abs() + model.norm_c.weight.abs()) / 2)
    close(own, model.norm_b.weight.abs())


def taylor(model: nn.Module, names: list[str], data: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The squares of each channel's sum of gradient times weight, their mean over batches and layers."""
    model, found = copy.deepcopy(model).eval(), []
    for x, y in data:
        model.zero_grad()
        F.cross_entropy(model(x.double()), y).backward()
        for name in names:
            weight = model.get_submodule(name).weight
            found.append((weight * weight.grad).flatten(1).sum(1).square())
    return torch.stack(found).mean(0)


def test_taylor_is_the_squared_sum_of_gradient_times_weight() -> None:
    model, data = residual(), batches(4, 4, 4)
    before = copy.deepcopy(model.state_dict())
    found = scores(model, "taylor", batches=data)
    # Logits are taken to float32 by the loss.
    for name, layers in (("b", ["b"]), ("hidden", ["hidden"]), ("a", ["a", "c"])):
        torch.testing.assert_close(found[name], taylor(model, layers, data).detach(), rtol=1e-4, atol=1e-12)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_taylor_gives_a_batch_the_weight_of_its_samples() -> None:
    model, data = residual(), batches(6, 2)
    parts = [taylor(model, ["b"], [batch]) for batch in data]
    found = scores(model, "taylor", batches=data)["b"]
    torch.testing.assert_close(found, (0.75 * parts[0] + 0.25 * parts[1]).detach(), rtol=1e-4, atol=1e-12)


def test_taylor_takes_a_loss_of_ones_own_without_labels() -> None:
    model, data = residual().eval(), [x for x, _ in batches(4, 4)]
    found = scores(model, "taylor", batches=data, loss=lambda outputs, targets: outputs.square().sum())
    gradients = []
    for x in data:
        weight = model.b.weight
        (gradient,) = torch.autograd.grad(model(x.double()).square().sum(), weight)
        gradients.append((weight * gradient).flatten(1).sum(1).square())
    close(found["b"], torch.stack(gradients).mean(0))


def test_taylor_sees_weights_through_masks_and_codebooks() -> None:
    model = residual()
    pn.prune(model, 0.4, skip=("out",))
    pn.share(model, bits=3, skip=("a", "out"))
    plain, data = residual(), batches(4)
    for name in ("a", "b", "c", "hidden"):
        plain.get_submodule(name).weight.data = model.get_submodule(name).weight.detach().clone()
    found, expected = scores(model, "taylor", batches=data), scores(plain, "taylor", batches=data)
    for name, own in expected.items():
        torch.testing.assert_close(found[name], own, rtol=1e-6, atol=1e-15)


def test_taylor_adds_up_what_reaches_a_weight_of_two_layers() -> None:
    model = TOYS["TiedLinear"]().double().eval()
    words = torch.tensor([[1, 2, 3], [4, 5, 0]])

    def loss(outputs: Tensor, targets: Any) -> Tensor:
        return outputs.square().mean()

    channels = find_channels(model, words)
    groups = channels.groups_of("table")
    (found,) = Ranking("taylor", batches=[words], loss=loss).scores(model, channels, groups)
    table, hidden = model.table.weight, model.hidden.weight
    gradients = torch.autograd.grad(loss(model(words), None), (table, hidden))
    close(found, ((gradients[0] * table).sum(0).square() + (gradients[1] * hidden).sum(1).square()) / 2)


def test_members_are_added_up_as_asked() -> None:
    model = residual()
    sums = [model.get_submodule(name).weight.abs().sum((1, 2, 3)) for name in ("a", "c")]
    expected = {
        "mean": (sums[0] + sums[1]) / (27 + 5),
        "sum": sums[0] + sums[1],
        "max": torch.maximum(sums[0] / 27, sums[1] / 5),
        "first": sums[0] / 27,
    }
    assert set(expected) == set(pn.tensor.AGGREGATIONS)
    for way, own in expected.items():
        close(scores(model, "l1", aggregation=way)["a"], own)


def test_weights_that_read_a_channel_count_where_asked() -> None:
    model = residual()
    found = scores(model, "l1", consumers=True)
    numbers = [model.a.weight, model.c.weight, model.b.weight.transpose(0, 1), model.hidden.weight.T]
    close(found["a"], torch.cat([own.flatten(1) for own in numbers], 1).abs().mean(1))
    flat = TOYS["flatten_then_linear"]().double()
    own = torch.cat([flat[0].weight.flatten(1), flat[5].weight.T.reshape(6, -1)], 1)
    channels = find_channels(flat, torch.randn(1, 3, 8, 8).double())
    (wide,) = Ranking("l1", consumers=True).scores(flat, channels, channels.groups_of("0"))
    close(wide, own.abs().mean(1))


@pytest.mark.parametrize("criterion", sorted(pn.tensor.CHANNEL_CRITERIA))
def test_a_plan_removes_what_scores_lowest(criterion: str) -> None:
    model, data = residual(), batches(4, 4)
    skip = ("hidden",) if criterion != "slimming" else ()
    plan = pn.plan_shrink(
        model, X, rates={"a": 0.5, "b": 0.6}, criterion=criterion, round_to=1, skip=skip, seed=0, batches=data
    )
    channels, ranking = plan.channels, Ranking(criterion, batches=data)
    groups = [channels.groups_of(name)[0] for name in ("a", "b")]
    for group, own, count in zip(groups, ranking.scores(model, channels, groups), (3, 2), strict=True):
        lowest = own.argsort()[:count].tolist()
        assert plan.removed & set(group.channels) == {group.channels[place] for place in lowest}
    small = plan.cut()
    assert (small.a.out_channels, small.b.out_channels) == (3, 3)


def test_slimming_leaves_what_no_norm_scales_and_says_so() -> None:
    model = residual()
    plan = pn.plan_shrink(model, X, parameters=0.8, criterion="slimming", round_to=1)
    reasons = {row.layers[0]: row.whole for row in plan.rows}
    assert reasons["hidden"] == "no norm scales it, and slimming ranks by that"
    assert plan.widths["hidden"] == 7
    with pytest.raises(RecipeError, match="rates: hidden cannot lose channels: no norm scales it"):
        pn.plan_shrink(model, X, rates={"hidden": 0.5}, criterion="slimming", round_to=1)
    with pytest.raises(ModelError, match=r"no layer of Toy can lose channels \(a: no norm scales it"):
        pn.plan_shrink(TOYS["concat"](), X.float(), macs=0.5, criterion="slimming", round_to=1)


def test_what_lacks_data_is_refused_before_any_work() -> None:
    def nothing(m: Any, x: Tensor) -> Tensor:
        raise AssertionError("the network ran")

    with pytest.raises(RecipeError, match="criterion 'taylor' needs batches with labels: give batches="):
        pn.plan_shrink(Toy(nothing, a=conv(3, 8)), X, macs=0.5, criterion="taylor")
    with pytest.raises(RecipeError, match="unknown aggregation 'gate'"):
        pn.plan_shrink(Toy(nothing, a=conv(3, 8)), X, macs=0.5, aggregation="gate")
    with pytest.raises(DataError, match="criterion 'taylor' needs labels, and batch 0 has none"):
        scores(residual(), "taylor", batches=[X])


def test_gradients_that_do_not_arrive_or_are_nan_are_named() -> None:
    model = residual()
    with pytest.raises(ModelError, match=r"no gradient of the loss arrives at a\.weight; add its layer"):
        scores(model, "taylor", batches=[X], loss=lambda outputs, targets: torch.zeros(()))
    with pytest.raises(ModelError, match=r"the gradient of a\.weight holds NaN or inf"):
        scores(model, "taylor", batches=[X], loss=lambda outputs, targets: outputs.sum() * torch.inf)
    model.norm_b.weight.data[0] = torch.nan
    with pytest.raises(ModelError, match=r"norm_b\.weight holds NaN or inf"):
        scores(model, "slimming")
