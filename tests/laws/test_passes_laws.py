"""Laws of passes: exact zeros, few levels, zeros kept, whatever the model, the amount and the ties."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pithnet.passes import (
    GRANULARITIES,
    SCOPES,
    GradualPruning,
    LevelTraining,
    freeze_levels,
    prune,
    share,
)
from pithnet.surgery import Mask, finalize, parametrization, weighted_layers
from pithnet.tensor import CRITERIA

widths = st.integers(1, 9)


@st.composite
def models(draw: st.DrawFn) -> nn.Module:
    """A convolution and a linear layer; weights from few values, so that ties and zeros are common."""
    a, b, c = draw(widths), draw(widths), draw(widths)
    model = nn.Sequential(nn.Conv2d(a, b, draw(st.integers(1, 3))), nn.Linear(b, c))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    grain = draw(st.sampled_from([0.0, 0.5]))
    with torch.no_grad():
        for _, layer in weighted_layers(model):
            weight = torch.randn(layer.weight.shape, generator=g)
            layer.weight.copy_((weight / grain).round() * grain if grain else weight)
    return model


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [layer.weight.detach().clone() for _, layer in weighted_layers(model)]


def data(model: nn.Module) -> dict[str, object]:
    """What criteria may want to look at: inputs of the model, whose convolution is as wide as its filters."""
    convolution, linear = model
    out, inputs, k, _ = convolution.weight.shape
    g = torch.Generator().manual_seed(0)
    batches = [torch.randn(2, inputs, k, out + k - 1, generator=g) for _ in range(2)]
    goal = torch.randn(linear.out_features, generator=g)
    return {"batches": batches, "loss": lambda outputs, _: (outputs - goal).square().mean()}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=12, deadline=None)
@given(model=models(), sparsity=st.floats(0, 1))
def test_exactly_so_many_weights_are_masked(
    scope: str, criterion: str, model: nn.Module, sparsity: float
) -> None:
    before = weights(model)
    record = prune(model, sparsity, scope=scope, criterion=criterion, **data(model))
    assert sum(row.zeros for row in record.layers) == round(sparsity * sum(w.numel() for w in before))
    for old, new in zip(before, weights(model), strict=True):
        assert torch.equal(new[new != 0], old[new != 0]), "a kept weight changed"


GROUPS = {
    "weight": ((), ()),
    "kernel": ((2, 3), ()),
    "filter": ((1, 2, 3), (1,)),
    "row": ((1, 2, 3), (1,)),
    "neuron": ((1, 2, 3), (1,)),
    "channel": ((0, 2, 3), (0,)),
}


def by_group(weight: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """(groups, members)"""
    others = [d for d in range(weight.ndim) if d not in dims]
    return weight.permute(*others, *dims).reshape(-1, math.prod(weight.shape[d] for d in dims))


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("scope", SCOPES)
@settings(max_examples=10, deadline=None)
@given(model=models(), sparsity=st.floats(0, 1), criterion=st.sampled_from(sorted(CRITERIA)))
def test_groups_go_whole_and_nearest_to_the_sparsity(
    granularity: str, scope: str, model: nn.Module, sparsity: float, criterion: str
) -> None:
    before, dims = weights(model), GROUPS[granularity]
    options = {"scope": scope, "criterion": criterion, "granularity": granularity}
    record = prune(model, sparsity, **options, **data(model))
    zeros = [row.zeros for row in record.layers]
    for layer, old, spanned, row in zip(model, before, dims, record.layers, strict=True):
        mask = parametrization(layer, Mask).mask
        groups = by_group(mask, spanned)
        assert torch.equal(groups, groups[:, :1].expand_as(groups))
        assert row.zeros == int((~mask).sum())
        if granularity in ("filter", "row", "neuron", "channel"):
            assert row.zero_groups == tuple((~groups[:, 0]).nonzero().flatten().tolist())
        assert torch.equal(layer.weight[mask], old[mask])
    sizes = [by_group(old, spanned).shape[1] for old, spanned in zip(before, dims, strict=True)]
    wanted = sparsity * sum(w.numel() for w in before)
    if scope == "global":
        assert abs(sum(zeros) - wanted) <= max(sizes) / 2 + 0.5
    else:
        # Each layer is as near as its groups allow to a number of zeros, and these add up to the sparsity.
        assert abs(sum(zeros) - wanted) <= sum(sizes) / 2 + 0.5
    if scope == "uniform":
        shares = [sparsity * w.numel() for w in before]
        assert all(abs(z - s) <= size / 2 + 1 for z, s, size in zip(zeros, shares, sizes, strict=True))


@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=8, deadline=None)
@given(model=models(), pattern=st.sampled_from([(1, 2), (2, 4), (3, 4), (1, 8)]))
def test_of_every_m_inputs_n_stay(criterion: str, model: nn.Module, pattern: tuple[int, int]) -> None:
    n, m = pattern
    record = prune(model, criterion=criterion, granularity=f"{n}:{m}", **data(model))
    for layer in model:
        for part in parametrization(layer, Mask).mask.split(m, 1):
            assert bool((part.sum(1) == min(n, part.shape[1])).all())
    assert record.what == f"prune {n}:{m}"


@pytest.mark.parametrize("scope", SCOPES)
@settings(max_examples=12, deadline=None)
@given(model=models(), sparsity=st.floats(0, 1), ramp=st.floats(0, 1), steps=st.integers(1, 12))
def test_gradual_pruning_ends_where_one_shot_does(
    scope: str, model: nn.Module, sparsity: float, ramp: float, steps: int
) -> None:
    sizes = sum(w.numel() for w in weights(model))
    schedule = GradualPruning(model, sparsity, ramp=ramp, updates=5, scope=scope)
    for step in range(steps + 1):
        schedule(step / steps)
    assert schedule.record is not None
    assert sum(row.zeros for row in schedule.record.layers) == round(sparsity * sizes)


def by_sharing(model: nn.Module, k: int, rate_weight: float) -> object:
    return share(model, levels=k, rate_weight=rate_weight)


def by_training(model: nn.Module, k: int, rate_weight: float) -> object:
    LevelTraining(model, levels=k, rate_weight=rate_weight)
    return freeze_levels(model)


@pytest.mark.parametrize("pass_", [by_sharing, by_training])
@settings(max_examples=25, deadline=None)
@given(
    model=models(),
    k=st.integers(1, 20),
    rate_weight=st.sampled_from([0.0, 0.05, 1.0]),
    sparsity=st.floats(0, 0.9),
)
def test_sharing_keeps_zeros_and_leaves_few_levels(
    pass_: Callable[..., object], model: nn.Module, k: int, rate_weight: float, sparsity: float
) -> None:
    prune(model, sparsity)
    before = weights(model)
    if not any(w.any() for w in before):
        return
    pass_(model, k, rate_weight)
    for old, new in zip(before, weights(model), strict=True):
        assert not new[old == 0].any()
        assert new[new != 0].unique().numel() <= k
    final = finalize(model)
    for old, new in zip(weights(model), weights(final), strict=True):
        assert torch.equal(new, old.half().float())
