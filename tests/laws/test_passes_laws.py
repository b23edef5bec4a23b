"""Laws of passes: exact zeros, few levels, zeros kept, whatever the model, the amount and the ties."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pithnet.passes import SCOPES, GradualPruning, LevelTraining, freeze_levels, prune, share
from pithnet.surgery import finalize, weighted_layers
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


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=12, deadline=None)
@given(model=models(), sparsity=st.floats(0, 1))
def test_exactly_so_many_weights_are_masked(
    scope: str, criterion: str, model: nn.Module, sparsity: float
) -> None:
    before = weights(model)
    record = prune(model, sparsity, scope=scope, criterion=criterion)
    assert sum(row.zeros for row in record.layers) == round(sparsity * sum(w.numel() for w in before))
    for old, new in zip(before, weights(model), strict=True):
        assert torch.equal(new[new != 0], old[new != 0]), "a kept weight changed"


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
