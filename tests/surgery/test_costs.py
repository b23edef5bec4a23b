"""What networks cost: against torch's own counter, against counts by hand, and that nothing is touched."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import pithnet as pn
from pithnet import zoo
from pithnet.errors import ModelError
from pithnet.learn.batch import call
from pithnet.surgery.graph.shapes import weightless


def torch_counts(model: nn.Module, example: Any) -> int:
    """Half of what torch's FlopCounterMode counts."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        call(model.eval(), example)
    return counter.get_total_flops() // 2


def hollow(example: Any) -> Any:
    """The example on torch's meta device, on which torch counts fused attention and LSTMs too."""
    if isinstance(example, dict):
        return {name: value.to("meta") for name, value in example.items()}
    return tuple(v.to("meta") for v in example) if isinstance(example, tuple) else example.to("meta")


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", zoo.ARCHITECTURES)
def test_zoo_networks_cost_half_of_what_torch_counts(name: str) -> None:
    device = "meta" if name == "vgg16-imagenet" else "cpu"
    with torch.device(device):
        model, example = zoo.build(name), torch.zeros(1, *zoo.input_shape(name))
    found = pn.costs(model, example)
    assert found.macs == torch_counts(model, example)
    assert found.parameters == size(model)
    assert found.bytes == 4 * size(model)
    assert sum(row.macs for row in found) == found.macs > 100_000


class Convolutions(nn.Module):
    """Grouped, depthwise, dilated and transposed convolutions, one of them called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 8, 3, groups=2, dilation=2, padding="same")
        self.depthwise = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=8, padding_mode="circular")
        self.up = nn.ConvTranspose2d(8, 4, 3, 2, output_padding=1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.depthwise(self.depthwise(self.grouped(x))))


class Attention(nn.Module):
    """scaled_dot_product_attention, an embedding tied to the output, and a layer that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.qkv = nn.Embedding(20, 8), nn.Linear(8, 24)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight
        self.position = nn.Parameter(torch.zeros(5, 8))
        self.unused = nn.Linear(3, 3)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.embedding(tokens) + self.position
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.head(y.transpose(1, 2).flatten(2))


class Functional(nn.Module):
    """Products of matrices in every form, with weights that are parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.kernel = nn.Parameter(torch.zeros(6, 6)), nn.Parameter(torch.zeros(2, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight) @ self.weight
        y = y + torch.bmm(x, x.transpose(1, 2)) @ x
        y = torch.baddbmm(y, y, self.weight.expand(len(x), 6, 6))
        y = torch.einsum("bij,kj->bik", y, self.weight)
        return F.conv1d(y.reshape(-1, 1, 6), self.kernel, padding=1)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.numbers = nn.Conv3d(1, 4, 3), nn.Linear(5, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, image: Tensor, numbers: Tensor) -> Tensor:
        return self.head(self.image(image).mean((2, 3, 4)) + self.numbers(numbers))


class Optional(nn.Module):
    """The branch of an argument with a default, which fx would take for given."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.extra = nn.Linear(5, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor, extra: Tensor | None = None, double: bool = False) -> Tensor:
        y = self.body(x)
        if extra is not None:
            y = y + self.extra(extra)
        return self.body(x) + y if double else y


class Shapes(nn.Module):
    """Decides by shapes, as torch.export follows and torch.fx does not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 3
        if x.shape[0] > 1:
            x = self.conv(x)
        for _ in range(int(x.shape[3]) // 4):
            x = self.conv(x) * self.scale
        return self.head(x.view(x.size(0), 3, -1).mean(2))


class Grouped(nn.Module):
    """Grouped-query attention as a module, after torch's own attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.kv = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q = self.attention(x, x, x, need_weights=False)[0].unflatten(-1, (4, 2)).transpose(1, 2)
        k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in self.kv(x).chunk(2, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


TOYS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "convolutions": (Convolutions, torch.zeros(2, 4, 7, 6)),
    "attention": (Attention, torch.zeros(2, 5, dtype=torch.int64)),
    "attention with a mask": (Attention, (torch.zeros(2, 5, dtype=torch.int64), torch.zeros(5, 5))),
    "functional": (Functional, torch.zeros(2, 4, 6)),
    "two inputs": (TwoInputs, (torch.zeros(2, 1, 4, 5, 6), torch.zeros(2, 5))),
    "two inputs by name": (TwoInputs, {"numbers": torch.zeros(2, 5), "image": torch.zeros(2, 1, 4, 5, 6)}),
    "optional left out": (Optional, torch.zeros(2, 5)),
    "optional given": (Optional, {"x": torch.zeros(2, 5), "extra": torch.zeros(2, 3)}),
    "decides by shapes": (Shapes, torch.zeros(2, 3, 8, 8)),
    "grouped-query attention": (Grouped, torch.zeros(2, 5, 8)),
    "recurrent": (lambda: nn.Sequential(nn.LSTM(4, 5, 2, bidirectional=True)), torch.zeros(7, 2, 4)),
    "transformer": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
        torch.zeros(2, 5, 8),
    ),
    "one layer": (lambda: nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)),
}


@pytest.mark.parametrize("name", TOYS)
def test_toys_cost_half_of_what_torch_counts(name: str) -> None:
    make, example = TOYS[name]
    model = make()
    found = pn.costs(model, example)
    assert found.macs == torch_counts(copy.deepcopy(model).to("meta"), hollow(example)) > 0
    assert found.parameters == size(model)


def test_counts_by_hand() -> None:
    found = pn.costs(Convolutions(), torch.zeros(2, 4, 7, 6))
    grouped, depthwise, up = found
    assert grouped == pn.Cost("grouped", "convolution", 2 * 8 * 42 * 2 * 9, 8 * 18 + 8, 2 * 8 * 42, 1)
    assert depthwise == pn.Cost(
        "depthwise", "convolution", 2 * (2 * 8 * 42 * 3), 8 * 3 + 8, 2 * (2 * 8 * 42), 2
    )
    assert (up.kind, up.macs) == ("transposed convolution", 2 * 8 * 42 * 2 * 9)
    assert up.activations == 2 * 4 * 16 * 14
    assert up.bytes == 4 * (8 * 2 * 9 + 4)
    assert found["up"] is up
    with pytest.raises(ModelError, match=r"unknown operation 'upp'.*Did you mean up"):
        found["upp"]


def test_a_shared_weight_counts_once_and_an_unused_one_has_a_row_without_calls() -> None:
    found = pn.costs(Attention(), torch.zeros(2, 5, dtype=torch.int64))
    rows = {row.name: (row.kind, row.macs, row.parameters, row.calls) for row in found}
    assert rows == {
        "embedding": ("embedding", 0, 160, 1),
        "add": ("add", 0, 40, 1),
        "qkv": ("linear", 2 * 5 * 8 * 24, 8 * 24 + 24, 1),
        "scaled_dot_product_attention": ("attention", 2 * 2 * 5 * 5 * (4 + 4), 0, 1),
        "head": ("linear", 2 * 5 * 8 * 20, 0, 1),
        "unused": ("linear", 0, 12, 0),
    }


def test_names_of_layers_come_back_from_an_export() -> None:
    found = pn.costs(Shapes(), torch.zeros(2, 3, 8, 8))
    conv = found["conv"]
    assert (conv.kind, conv.calls, conv.macs) == ("convolution", 3, 3 * (2 * 3 * 64 * 27))
    assert (found["head"].kind, found["head"].macs) == ("linear", 2 * 3 * 2)
    assert (found["mul"].kind, found["mul"].parameters) == ("multiply", 3)
    assert pn.costs(Shapes(), torch.zeros(1, 3, 4, 4))["conv"].calls == 1


def test_the_table_has_a_row_for_each_operation_and_the_sums() -> None:
    lines = str(pn.costs(zoo.build("digits-cnn"), torch.zeros(1, 1, 8, 8))).splitlines()
    assert lines[0].split() == ["name", "kind", "MACs", "parameters", "activations", "bytes"]
    assert lines[4].split() == ["conv2", "convolution", "294,912", "18,432", "1,024", "73,728"]
    assert lines[-1].split() == ["DigitsCNN", "all", "903,808", "56,554", "12,362", "226,216"]
    assert len(lines) == 13


def test_layers_are_not_computed_and_weights_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*given: Any) -> Tensor:
        raise AssertionError("a layer was computed")

    model = zoo.build("resnet18", width=8)
    hollow_ones = weightless(model)
    assert [p.shape for p in hollow_ones.parameters()] == [p.shape for p in model.parameters()]
    assert max(p.untyped_storage().nbytes() for p in hollow_ones.parameters()) == 4
    monkeypatch.setattr(nn.Conv2d, "forward", run)
    monkeypatch.setattr(nn.Linear, "forward", run)
    assert pn.costs(model, torch.zeros(1, 3, 32, 32)).parameters == size(model)


def test_zeros_and_shared_values_cost_what_others_do() -> None:
    model, example = zoo.build("digits-cnn", width=4), torch.zeros(1, 1, 8, 8)
    plain = pn.costs(model, example)
    pn.prune(model, 0.5)
    assert pn.costs(model, example) == plain
    pn.share(model, bits=3)
    assert pn.costs(model, example) == plain
    assert pn.costs(model, example).parameters > size(model)  # codebooks are smaller


def test_quantized_activations_are_rows_of_their_own_and_multiply_nothing() -> None:
    model, example = zoo.build("digits-cnn", width=4).eval(), torch.zeros(1, 1, 8, 8)
    plain = pn.costs(model, example)
    pn.quantize(model, 8, activations=8, calibrate=torch.randn(50, 1, 8, 8))
    found = pn.costs(model, example)
    assert found.macs == plain.macs
    assert [row.name for row in found if row.kind == "rounding"] == [
        f"activation_quantizers.{place}" for place in ("x", "relu", "relu_1", "relu_2", "mean")
    ]


def test_a_wrapped_network_costs_what_the_network_does() -> None:
    model, example = zoo.build("digits-cnn", width=4), torch.zeros(1, 1, 8, 8)
    assert pn.costs(nn.DataParallel(model), example) == pn.costs(model, example)


def test_the_model_and_random_numbers_are_left_alone() -> None:
    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.seen += 1
            return F.relu_(self.norm(self.layer(x + random.random() + torch.rand(4))))

    model, seen = Drawing().train(), []
    model.norm.eval()
    model.layer.register_forward_hook(lambda *given: seen.append(given))
    x = torch.randn(3, 4)
    state, given = copy.deepcopy(model.state_dict()), x.clone()
    numbers = random.getstate(), torch.get_rng_state()
    assert pn.costs(model, x).macs == 3 * 4 * 4
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == [True, True, False]
    assert not seen
    assert len(model.layer._forward_hooks) == 1
    assert torch.equal(x, given)
    assert random.getstate() == numbers[0]
    assert torch.equal(torch.get_rng_state(), numbers[1])


def test_what_cannot_be_followed_is_refused_by_name() -> None:
    class ByNumbers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(
        ModelError, match=r"forward of ByNumbers.*take what depends.*nor can torch.export: Could not"
    ):
        pn.costs(ByNumbers(), torch.ones(2, 3))
    with pytest.raises(ModelError, match=r"DigitsCNN does not run on the example: .*channels.*give inputs"):
        pn.costs(zoo.build("digits-cnn", width=4), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ModelError, match=r"TwoInputs takes \(image.*missing a required argument: 'numbers'"):
        pn.costs(TwoInputs(), torch.zeros(2, 1, 4, 5, 6))
    with pytest.raises(ModelError, match=r"0 \(LazyLinear\) has no weights yet"):
        pn.costs(nn.Sequential(nn.LazyLinear(3)), torch.zeros(2, 4))
