"""Forms of public architectures lose heads and channels, and compute what they do with these zero."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.surgery import Channels, cut_channels, find_channels, mask_channels
from tests.surgery.channels.architectures import ARCHITECTURES, architecture

# Of each network the groups of which channels may go: its layers with the outputs of a channel, and how many.
_LLAMA = [({"attention.q": 8, "attention.k": 4, "attention.v": 4}, 2), ({"gate": 1, "up": 1}, 20)]
HEADS = {
    "ViT": [({"one.qkv": 12}, 4), ({"two.qkv": 12}, 4), ({"up": 1}, 24)],
    "GPT": [({"attn.c_attn": 12}, 4), ({"c_fc": 1}, 32)],
    "Llama": _LLAMA,
    "Llama, repeated": _LLAMA,
    "Llama, expanded": _LLAMA,
    "einsum": [({"q": 1, "k": 1, "v": 3}, 4), ({"o": 1}, 12)],
    "one head": [({"q": 1, "k": 1}, 8), ({"v": 1}, 10)],
    "ConvNeXt": [({"up": 1}, 32), ({"last": 1}, 12)],
    "LSTM": [({"hidden": 1}, 12)],
    "MultiheadAttention": [({"up": 2}, 12)],
    "functional": [({"a": 1, "b": 1}, 8), ({"c": 1}, 6), ({"out": 1}, 10)],
    "GAN": [({"first": 16}, 12), ({"layers.2": 1}, 8)],
}
BARRIERS = {
    "ViT": ("patches", "norm1 normalises over all channels together"),
    "GPT": ("wte", "ln_1 normalises over all channels together"),
    "Llama": ("table", "norm1 normalises over all channels together"),
    "ConvNeXt": ("stem", "mean adds up all channels"),
    "LSTM": ("table", "lstm is an operation that no rule is known for"),
    "MultiheadAttention": ("table", "attention keeps all its heads, being one module"),
}


def half(channels: Channels) -> set[int]:
    """Every second channel of the groups that may lose some."""
    return {n for group in channels.groups if not group.frozen for n in group.channels[1::2]}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cut_equals_mask(name: str) -> None:
    model, inputs = architecture(name)
    found = find_channels(model, inputs)
    removed = half(found)
    small, full = cut_channels(model, found, removed), mask_channels(model, found, removed)
    with torch.no_grad():
        before, expected, got = model(inputs), full(inputs), small(inputs)
    assert (got - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert (expected - before).abs().max() > 1e-3 * before.abs().max()  # the channels did something
    assert _parameters(small) < _parameters(model)
    costs = pn.costs(small, inputs)
    assert costs.macs < pn.costs(model, inputs).macs
    plan = pn.plan_shrink(model, inputs, parameters=0.8, round_to=1, floor=0)
    cut = pn.costs(plan.cut(), inputs)
    assert (plan.macs, plan.parameters) == (cut.macs, cut.parameters)
    small.train()(inputs).square().mean().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in small.parameters())


@pytest.mark.parametrize("name", HEADS)
def test_what_may_go(name: str) -> None:
    found = find_channels(*architecture(name))
    assert [(g.layers, g.width) for g in found.groups if not g.frozen] == HEADS[name]


@pytest.mark.parametrize("name", BARRIERS)
def test_what_stays_is_named_before_any_cut(name: str) -> None:
    layer, reason = BARRIERS[name]
    model, inputs = architecture(name)
    assert reason in str(find_channels(model, inputs).groups_of(layer)[0].frozen)
    with pytest.raises(pn.RecipeError, match=f"{layer} cannot lose channels: {reason}"):
        pn.plan_shrink(model, inputs, rates={layer: 0.5}, round_to=1)


def test_cut_networks_take_other_batches_and_lengths() -> None:
    for name in ("ViT", "GPT", "Llama, expanded"):
        model, inputs = architecture(name)
        found = find_channels(model, inputs)
        small, full = (f(model, found, half(found)) for f in (cut_channels, mask_channels))
        other = inputs[:1].repeat(3, *[1] * (inputs.ndim - 1))
        other = other if name == "ViT" else other[:, :4]
        assert (small(other) - full(other)).abs().max() <= 1e-9


def test_a_weight_that_forward_sums_up_stays() -> None:
    class Regular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.gamma, self.out = nn.Linear(4, 8), nn.Parameter(torch.rand(8)), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Any:
            return self.out(torch.relu(self.a(x)) * self.gamma) + self.gamma.sum()

    found = find_channels(Regular(), torch.randn(2, 4))
    assert found.groups_of("a")[0].frozen == "sum_1 computes with all of gamma"


def test_products_of_channels_that_are_not_zero_are_not_added_up() -> None:
    """With exp in between a channel of zero gives one, and its product counts."""

    class Kernel(nn.Module):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.q, self.k, self.out, self.function = (
                nn.Linear(4, 8),
                nn.Linear(4, 8),
                nn.Linear(4, 2),
                function,
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.function(self.q(x)) @ self.function(self.k(x)).mT @ x)

    x = torch.randn(2, 3, 4)
    frozen = {
        function.__name__: find_channels(Kernel(function), x).groups_of("q")[0].frozen
        for function in (torch.relu, torch.exp)
    }
    assert frozen["relu"] is None
    assert frozen["exp"] == "matmul adds up products of channels that are not zero where the channels are"


def test_a_norm_without_a_scale_makes_no_channel_zero() -> None:
    class Kernel(nn.Module):
        def __init__(self, affine: bool) -> None:
            super().__init__()
            self.q, self.k, self.out = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(4, 2)
            self.norms = nn.ModuleList(nn.BatchNorm1d(8, affine=affine) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            q, k = self.norms[0](self.q(x).mT), self.norms[1](self.k(x).mT)
            return self.out(q.mT @ k @ x)

    x = torch.randn(2, 3, 4)
    frozen = {affine: find_channels(Kernel(affine), x).groups_of("q")[0].frozen for affine in (True, False)}
    assert frozen[True] is None
    assert frozen[False] == "matmul adds up products of channels that are not zero where the channels are"


def test_masks_and_codebooks_on_heads_go_along() -> None:
    model, inputs = architecture("ViT")
    pn.prune(model, 0.3, also=("positions",))
    pn.share(model, 3, skip=("patches",))
    found = find_channels(model, inputs)
    removed = half(found)
    small, full = cut_channels(model, found, removed), mask_channels(model, found, removed)
    assert (small(inputs) - full(inputs)).abs().max() <= 1e-9
    assert small.one.qkv.weight.unique().numel() <= 9
    again = copy.deepcopy(small)
    assert torch.equal(again(inputs), small(inputs))


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
