"""The registry of kinds: which tensors are compressed, and along which axis their channels lie."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.surgery import fake_quantizer, register_kind, weighted_layers
from pithnet.surgery.weights import kinds
from pithnet.tensor.quantizers import from_rows, to_rows


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = {cls: dict(tensors) for cls, tensors in kinds._KINDS.items()}
    monkeypatch.setattr(kinds, "_KINDS", registry)


class Conv1D(nn.Module):
    """A linear layer as GPT-2 has it: the weight is (inputs, outputs)."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.randn(inputs, outputs)),
            nn.Parameter(torch.zeros(outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Mixture(nn.Module):
    """Experts with two matrices each, (experts, inputs, outputs), all summed."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(3, 4, 8)), nn.Parameter(torch.randn(3, 8, 5))
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.einsum("ni,eio->eno", x, self.up).relu()
        return torch.einsum("eni,eio->no", hidden, self.down) * self.scale


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("transformers.pytorch_utils")
    module.Conv1D = Conv1D
    monkeypatch.setitem(sys.modules, "transformers.pytorch_utils", module)
    return module


def names(model: nn.Module) -> list[str]:
    return [name for name, _ in weighted_layers(model)]


def test_conv1d_of_transformers_is_known_by_its_qualified_name_and_never_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "transformers.pytorch_utils", raising=False)
    model = nn.Sequential(Conv1D(6, 4), nn.Linear(6, 2))
    assert names(model) == ["1"]
    assert "transformers.pytorch_utils" not in sys.modules
    module = ModuleType("transformers.pytorch_utils")
    monkeypatch.setitem(sys.modules, "transformers.pytorch_utils", module)
    assert names(model) == ["1"]
    module.Conv1D = Conv1D
    assert names(model) == ["0", "1"]
    assert [row.size for row in pn.prune(model, 0.5).layers] == [24, 12]


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("quantizer", ["linear", "dynamic", "lsq", "apot"])
def test_channels_on_axis_1_are_quantized_as_those_of_the_transposed_linear_layer(quantizer: str) -> None:
    torch.manual_seed(0)
    mine, linear = nn.Sequential(Conv1D(6, 4)), nn.Sequential(nn.Linear(4, 6))
    with torch.no_grad():
        mine[0].weight.mul_(torch.logspace(0, 3, 6))  # outputs of very different ranges
        linear[0].weight.copy_(mine[0].weight.t())
        linear[0].bias.zero_()
    for granularity in ("channel", "group"):
        for model in (mine, linear):
            pn.quantize(model, 3, quantizer=quantizer, granularity=granularity, group_size=2, fit="mse")
        assert torch.equal(mine[0].weight, linear[0].weight.t())
        rows = fake_quantizer(mine[0]).rows(mine[0].weight)
        assert len(rows) == (6 if granularity == "channel" else 12)
    final, theirs = pn.finalize(mine), pn.finalize(linear)
    assert torch.equal(final[0].weight, theirs[0].weight.t())


@pytest.mark.usefixtures("transformers")
def test_a_state_tells_where_the_channels_lie() -> None:
    model = nn.Sequential(Conv1D(6, 4), nn.Linear(6, 2))
    pn.quantize(model, 3, quantizer="lsq", fit="range")
    state = model.state_dict()
    assert state["0.parametrizations.weight.0._extra_state"].tolist()[4:] == [1]
    assert len(state["1.parametrizations.weight.0._extra_state"]) == 4
    twin = pn.restore(nn.Sequential(Conv1D(6, 4), nn.Linear(6, 2)), state)
    assert torch.equal(twin[0].weight, model[0].weight)
    assert fake_quantizer(twin[0]).axes == (1,)
    odd = {**state, "0.parametrizations.weight.0._extra_state": torch.tensor([0, 3, 1, 1, 7])}
    with pytest.raises(pn.ModelError, match="unknown kind"):
        pn.restore(nn.Sequential(Conv1D(6, 4), nn.Linear(6, 2)), odd)


@pytest.mark.usefixtures("transformers")
def test_filters_are_outputs_wherever_they_lie() -> None:
    model = nn.Sequential(Conv1D(6, 4))
    with torch.no_grad():
        model[0].weight[:, [1, 4]] *= 1e-3
    options = {"strength": 1e-3, "sparsity": 2 / 6, "scope": "uniform"}
    record = pn.Regularization(model, "group-lasso", groups="filters", **options).finish()
    assert record.layers[0].zero_groups == (1, 4)
    assert [bool(column.any()) for column in model[0].weight.t()] == [True, False, True, True, False, True]
    model = nn.Sequential(Conv1D(6, 4))
    with torch.no_grad():
        model[0].weight[2] *= 1e-3
    options["sparsity"] = 1 / 4
    record = pn.Regularization(model, "group-lasso", groups="channels", **options).finish()
    assert record.layers[0].zero_groups == (2,)


def test_experts_have_a_step_for_each_expert_and_output() -> None:
    register_kind(Mixture, weights=("up", "down"), channel_axis=(0, 2))
    model = nn.Sequential(Mixture())
    pn.quantize(model, 3, fit="range")
    layers = dict(weighted_layers(model))
    assert [len(fake_quantizer(layers[name]).rows(layers[name].weight)) for name in layers] == [24, 15]
    with torch.no_grad():
        plain = nn.Sequential(Mixture())
        plain[0].up[1, :, 3] = 1e-3
    register_kind(Mixture, weights=("down",), channel_axis=(0, 2))
    options = {"strength": 1e-3, "sparsity": 1 / 24, "scope": "uniform", "skip": ("*.down",)}
    record = pn.Regularization(plain, "group-lasso", groups="filters", **options).finish()
    assert record.layers[0].zero_groups == (8 + 3,)


@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 2), (2, 0), (1, 2)])
def test_rows_give_the_weight_back_along_any_axes(axes: tuple[int, ...], granularity: str) -> None:
    weight = torch.randn(3, 4, 5)
    rows = to_rows(weight, granularity, 2, axes)
    assert torch.equal(from_rows(rows, weight, axes), weight)
    if granularity == "channel":
        channel = dict.fromkeys(axes, 1)
        expected = weight[tuple(channel.get(axis, slice(None)) for axis in range(3))].flatten()
        place = 1 if len(axes) == 1 else weight.shape[axes[1]] + 1
        assert torch.equal(rows[place], expected)


def test_the_nearest_base_class_counts_and_calls_add_up() -> None:
    class Own(nn.Linear):
        """Has a second matrix."""

        def __init__(self) -> None:
            super().__init__(3, 3)
            self.gate, self.extra = nn.Parameter(torch.randn(3, 3)), nn.Parameter(torch.randn(3, 3))

    assert names(nn.Sequential(Own())) == ["0"]
    register_kind(Own, ("gate",))
    assert names(nn.Sequential(Own())) == ["0.gate"]
    register_kind(Own, ("weight",), channel_axis=1)
    register_kind(nn.Linear)
    found = {name: layer.channel_axes for name, layer in weighted_layers(nn.Sequential(Own()))}
    assert found == {"0.gate": (0,), "0": (1,)}


NONSENSE: dict[str, tuple[tuple[Any, ...], str]] = {
    "a module": ((nn.Linear(2, 2),), r"takes a class derived from torch\.nn\.Module"),
    "another class": ((dict,), r"takes a class derived from torch\.nn\.Module"),
    "all modules": ((nn.Module,), r"takes a class derived from torch\.nn\.Module"),
    "a short name": (("Conv1D",), r"give one like 'package\.module\.Class'"),
    "no name": (("a.b c",), r"no qualified name"),
    "a bare string": ((nn.LayerNorm, "weight"), r"write weights=\('weight',\)"),
    "no weights": ((nn.LayerNorm, ()), r"names one parameter of the class or more"),
    "a key": ((nn.LayerNorm, ("a.weight",)), r"names one parameter of the class or more"),
    "a negative axis": ((nn.LayerNorm, ("weight",), -1), r"an axis from 0 on"),
    "a truth": ((nn.LayerNorm, ("weight",), True), r"an axis from 0 on"),
    "an axis twice": ((nn.LayerNorm, ("weight",), (1, 1)), r"several different ones"),
    "no axis": ((nn.LayerNorm, ("weight",), ()), r"an axis from 0 on"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused(case: str) -> None:
    arguments, message = NONSENSE[case]
    before = {cls: dict(tensors) for cls, tensors in kinds._KINDS.items()}
    with pytest.raises(pn.ModelError, match=message):
        register_kind(*arguments)
    assert before == kinds._KINDS


@pytest.mark.usefixtures("transformers")
def test_a_file_takes_no_more_for_channels_on_another_axis() -> None:
    register_kind(Mixture, weights=("up", "down"), channel_axis=(0, 2))

    def size(layer: nn.Module, tensor: str, weight: Tensor) -> int:
        model = nn.Sequential(layer)
        with torch.no_grad():
            getattr(layer, tensor).copy_(weight)
        pn.quantize(model, 4, fit="range")
        final = pn.finalize(model)
        data = pn.encode(final)
        state, _ = pn.decode(data)
        assert torch.equal(state[f"0.{tensor}"], final.state_dict()[f"0.{tensor}"])
        return len(data)

    torch.manual_seed(0)
    weight = torch.randn(48, 64) * torch.logspace(0, 3, 48)[:, None]
    usual = size(nn.Linear(64, 48), "weight", weight)
    assert size(Conv1D(48, 64), "weight", weight.t()) <= 1.03 * usual
    mixture = Mixture()
    mixture.up, mixture.down = nn.Parameter(torch.empty(2, 64, 24)), nn.Parameter(torch.zeros(2, 8, 5))
    experts = weight.view(2, 24, 64).transpose(1, 2)
    assert size(mixture, "up", experts) <= 1.03 * usual


def test_an_axis_that_a_weight_has_not_is_refused_by_name_before_anything_changes() -> None:
    register_kind(Conv1D, channel_axis=2)
    model = nn.Sequential(nn.Linear(4, 4), Conv1D(6, 4))
    with pytest.raises(pn.ModelError, match=r"1\.weight has 2 dimensions and no axis 2"):
        pn.quantize(model, 4, fit="range")
    assert "weight" in model[0]._parameters
