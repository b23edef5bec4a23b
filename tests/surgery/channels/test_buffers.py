"""Buffers that a forward computes with: they lose channels, and count in a forward that is written anew."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.surgery import (
    ActivationQuantizer,
    activation_quantizers,
    find_channels,
    insert_activation_quantizers_,
)
from pithnet.tensor.observers import get_observer
from tests.surgery.channels.laws import shrunk

IMAGES = torch.randn(2, 3, 6, 6, dtype=torch.float64)


def quantizer(place: str) -> ActivationQuantizer:
    return ActivationQuantizer(8, get_observer("min-max"), place)


class Scaled(nn.Module):
    """Divides its input by a buffer; a size stands in the code."""

    def __init__(self, std: float = 1.0, factor: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.register_buffer("std", torch.full((3,), std))
        self.a, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 36, 5)
        self.factor = factor or (lambda m: (1 / m.std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.a(x * self.factor(self))).view(x.size(0), 8 * 36))


def test_a_forward_that_is_written_anew_reads_its_buffers(tmp_path: Path) -> None:
    small = pn.shrink(Scaled(5.0), IMAGES.float(), rates={"a": 0.5}, round_to=1).eval()
    again = copy.deepcopy(small)
    again.std.fill_(1.0)
    assert not torch.allclose(again(IMAGES.float()), small(IMAGES.float()))
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(IMAGES.float()), small(IMAGES.float()))
    assert again.bfloat16()(IMAGES.bfloat16()).dtype == torch.bfloat16
    pn.save(small, tmp_path / "small.pith")
    loaded = pn.load(tmp_path / "small.pith", model=Scaled(1.0))
    assert torch.equal(loaded(IMAGES.float()), small(IMAGES.float()))
    assert not [name for name in vars(again) if "constant" in name]


@pytest.mark.parametrize(
    "factor",
    [
        lambda m: float(m.std[0]),
        lambda m: 2 if m.std.sum() > 0 else 1,
        lambda m: torch.tensor([1 / value for value in m.std.tolist()[: len(m.std)]]).view(1, -1, 1, 1),
        lambda m: m._buffers["std"].view(1, -1, 1, 1) * 2,
        lambda m: m.a._parameters["bias"].sum(),
    ],
)
def test_a_forward_that_would_have_numbers_of_a_buffer_built_in_is_not_written_anew(
    factor: Callable[[Any], Any],
) -> None:
    model = Scaled(5.0, factor)
    key = find_channels(model, IMAGES.float()).groups_of("a")[0].frozen
    assert key is not None
    assert key.startswith("view counts it, and a forward written anew would have ")
    with pytest.raises(
        pn.ModelError, match="another forward, which would have built in what is now computed"
    ):
        insert_activation_quantizers_(model, IMAGES.float(), quantizer)


def test_quantized_activations_read_buffers() -> None:
    """The operations are called as they were when what is done to buffers was built in."""
    model = Scaled(5.0)
    insert_activation_quantizers_(model, IMAGES.float(), quantizer)
    assert sorted(activation_quantizers(model)) == ["mul", "relu", "x"]
    before = model(IMAGES.float())
    model.std.fill_(1.0)
    assert not torch.allclose(model(IMAGES.float()), before)


class FrozenNorm(nn.Module):
    """A BatchNorm of buffers alone, as in detectors."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.reshape(1, -1, 1, 1), self.bias.reshape(1, -1, 1, 1)
        variance, mean = self.running_var.reshape(1, -1, 1, 1), self.running_mean.reshape(1, -1, 1, 1)
        scale = weight * (variance + 1e-5).rsqrt()
        return x * scale + (bias - mean * scale)


class Buffered(nn.Module):
    """Buffers that meet channels in several forms."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 1), FrozenNorm(8), nn.Conv2d(8, 6, 1)
        self.c, self.out = nn.Linear(6, 8), nn.Linear(8, 4)
        self.register_buffer("scale", torch.rand(6) + 0.5)
        self.register_buffer("where", torch.arange(8) % 3 > 0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(torch.relu(self.norm(self.a(x)))) * self.scale.view(1, -1, 1, 1)
        x = (x + self.scale[None, :, None, None]).mean((2, 3)).view(-1, self.scale.shape[0])
        return self.out(self.c(x) * self.where)


def test_buffers_lose_channels() -> None:
    plan = shrunk(Buffered, IMAGES, rates={"a": 0.5, "b": 0.5, "c": 0.5})
    assert plan.widths == {"a": 4, "b": 3, "c": 4, "out": 4}
    sizes = {name: len(buffer) for name, buffer in plan.cut().named_buffers()}
    assert sizes == {name: 3 if name == "scale" else 4 for name in sizes}


def test_a_forward_that_gives_a_buffer_another_value_leaves_no_trace_in_the_network() -> None:
    class Counting(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            self.std = self.std * 2
            return super().forward(x)

    model = Counting()
    with pytest.raises(pn.ModelError, match="would have std built in"):
        pn.plan_shrink(model, IMAGES.float(), macs=0.5)
    assert type(model.std) is Tensor


class Table(nn.Module):
    """Adds a table to its channels, which files keep or not."""

    def __init__(self, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("table", torch.linspace(-1, 1, 8), persistent=persistent)
        self.a, self.b, self.out = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.b(torch.relu(self.a(x) + self.table.view(1, -1, 1, 1)))))


def test_channels_of_a_buffer_that_no_file_keeps_stay() -> None:
    plan = shrunk(lambda: Table(persistent=False), IMAGES, macs=0.9)
    assert plan.widths["a"] == 8
    assert plan.widths["b"] < 8
    assert "table is a buffer that no file keeps: register it with persistent=True" in str(plan)
    assert shrunk(lambda: Table(persistent=True), IMAGES, rates={"a": 0.5}).widths["a"] == 4
