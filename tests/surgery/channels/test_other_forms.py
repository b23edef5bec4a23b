"""Forms of networks that others write: what of them is cut, and by which reason the rest stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pithnet as pn
from pithnet.errors import RecipeError
from pithnet.surgery import find_channels
from tests.surgery.channels.laws import shrunk

IMAGES = torch.randn(2, 3, 6, 6, dtype=torch.float64)


class Form(nn.Module):
    """Two convolutions with something between them, and parameters and buffers for it."""

    def __init__(self, between: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 1), nn.Linear(6, 4)
        self.gain, self.weight = (
            nn.Parameter(torch.rand(8, 1, 1, 1) + 0.5),
            nn.Parameter(torch.randn(8, 8, 1, 1)),
        )
        self.rows, self.bias = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(5))
        self.last = nn.Parameter(torch.randn(5, 6))
        self.scale = nn.Parameter(torch.rand(8) + 0.5)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.b(torch.relu(self.between(self, self.a(x)))).mean((2, 3)))


@pytest.mark.parametrize(
    "between",
    [
        lambda m, y: y.type_as(m.b.weight) + y.to(y) * m.scale.to(y).view(1, -1, 1, 1),
        lambda m, y: y * torch.linspace(0, 1, 6).to(y).view(1, 1, 6, 1),
        lambda m, y: F.conv2d(y, m.weight * m.gain),
        lambda m, y: F.conv2d(y, m.weight / m.weight.std((2, 3), correction=0, keepdim=True).add(1.0)),
    ],
)
def test_what_is_between_convolutions_is_followed(between: Callable[[Any, Tensor], Tensor]) -> None:
    plan = shrunk(lambda: Form(between), IMAGES, rates={"a": 0.5, "b": 0.5})
    assert (plan.widths["a"], plan.widths["b"]) == (4, 3)


class Conv1D(nn.Module):
    """A linear layer as in transformers' GPT-2, whose weight is (inputs, outputs)."""

    def __init__(self, outs: int, ins: int) -> None:
        super().__init__()
        self.outs = outs
        self.weight, self.bias = nn.Parameter(torch.randn(ins, outs)), nn.Parameter(torch.randn(outs))

    def forward(self, x: Tensor) -> Tensor:
        found = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return found.view(x.size()[:-1] + (self.outs,))  # noqa: RUF005


def test_added_matrix_products_are_linear_layers() -> None:
    x = torch.randn(2, 5, 6).double()
    build = lambda: nn.Sequential(Conv1D(16, 6), nn.GELU(), Conv1D(4, 16))  # noqa: E731
    plan = shrunk(build, x, rates={"0.weight": 0.5})
    assert plan.widths["0.weight"] == 8
    assert plan.macs == plan.full_macs / 2


@pytest.mark.parametrize(
    "scalar", [lambda y: y.mean(), lambda y: y.pow(2).sum(), lambda y: y.abs().mean().clamp(min=1e-3)]
)
def test_a_sum_of_all_channels_freezes_them(scalar: Callable[[Tensor], Tensor]) -> None:
    plan = shrunk(lambda: Form(lambda m, y: y / scalar(y)), IMAGES, rates={"b": 0.5})
    reasons = {layer: row.whole for row in plan.rows for layer in row.layers}
    assert str(reasons["a"]).endswith("adds up all channels")
    assert reasons["b"] is None


class Same(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1)), self.weight, self.bias)


def test_layers_that_are_not_followed_are_named() -> None:
    layers = [Same(3, 8, 3), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 6, 1), Same(6, 4, 3), nn.Conv2d(4, 2, 1)]
    model = nn.Sequential(*layers)
    plan = pn.plan_shrink(model, IMAGES.float(), macs=0.95, round_to=1)
    reasons = {layer: row.whole for row in plan.rows for layer in row.layers}
    assert reasons["0"] == "0 has a forward of its own"
    assert reasons["3"] == reasons["2"] == "3 has a forward of its own"
    computed = Form(lambda m, y: F.conv2d(y, m.weight.softmax(0)))
    found = find_channels(computed, IMAGES.float())
    assert found.groups_of("weight")[0].frozen == "softmax computes with all of weight"
    assert found.groups_of("a")[0].frozen == "conv2d is given weights that are computed"


def test_a_norm_over_all_channels_is_named_with_its_width() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 18, 1), nn.GroupNorm(1, 18), nn.ReLU(), nn.Conv2d(18, 4, 1))

    for step in (1, 8):
        with pytest.raises(pn.ModelError, match="1 normalises over all channels"):
            pn.plan_shrink(build(), IMAGES.float(), macs=0.5, round_to=step)
    model = nn.Sequential(build(), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 2, 1))
    with pytest.raises(RecipeError, match=r"these cannot lose channels: 0\.0: 0\.1 normalises over all"):
        pn.plan_shrink(model, IMAGES.float(), macs=0.01, round_to=1)
    plan = pn.plan_shrink(model, IMAGES.float(), macs=0.95, round_to=1)
    assert (plan.rows[0].width, plan.rows[0].kept) == (18, 18)


def test_a_forward_that_cannot_be_followed_is_refused_by_its_line() -> None:
    def between(m: Any, y: Tensor) -> Tensor:
        return y if y.sum() > 0 else -y

    with pytest.raises(
        pn.ModelError, match=r"at test_other_forms\.py:\d+ \(return y if y\.sum\(\) > 0 else -y\)"
    ):
        find_channels(Form(between), IMAGES.float())
