"""decode(encode(model)) is the model, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from artifact.models import Assorted, Tied, fold_, shared_, trained_like
from pithnet.artifact import Metadata, decode, encode, float32_bytes, inspect, plain_state
from pithnet.errors import ArtifactError


def _assert_same(state: dict[str, Tensor], model: nn.Module) -> None:
    expected = model.state_dict()
    assert set(state) == set(expected)
    for name, value in expected.items():
        if name.endswith("num_batches_tracked"):
            assert state[name] == 0
            continue
        assert state[name].dtype == value.dtype, name
        assert state[name].shape == value.shape, name
        flat, other = (t.contiguous().reshape(-1).view(torch.uint8) for t in (state[name], value))
        assert torch.equal(flat, other), name


@pytest.mark.parametrize("kind", ["float", "half", "shared", "folded", "fresh"])
def test_zoo_models_come_back(kind: str) -> None:
    model = trained_like("digits-cnn", width=8)
    if kind == "half":
        model.half().float()
    if kind in ("shared", "folded"):
        shared_(model, zeros=0.8, levels=6)
    if kind == "folded":
        fold_(model)
    if kind == "fresh":
        model = type(model)(width=8)
        model.architecture = ("digits-cnn", {"width": 8})  # type: ignore[assignment]
    data = encode(model)
    assert data == encode(model)
    state, meta = decode(data)
    _assert_same(state, model)
    assert list(state) == list(model.state_dict())
    assert meta == Metadata(architecture="digits-cnn", arguments={"width": 8})
    ratio = float32_bytes(state) / len(data)
    assert ratio > {"float": 1.1, "half": 2.1, "shared": 7, "folded": 11, "fresh": 1.2}[kind]


@pytest.mark.parametrize("model", [Assorted(), Tied(), nn.Module(), nn.BatchNorm1d(5)])
def test_other_models_come_back(model: nn.Module) -> None:
    state, meta = decode(encode(model, Metadata(dataset="mine")))
    _assert_same(state, model)
    assert meta == Metadata(dataset="mine")


def test_tied_weights_are_stored_once() -> None:
    model, apart = Tied(), Tied()
    apart.out.weight = nn.Parameter(torch.randn(11, 6))
    state, _ = decode(encode(model))
    assert state["out.weight"] is state["embed.weight"]
    assert len(encode(apart)) - len(encode(model)) > 11 * 6 * 3
    assert float32_bytes(model.state_dict()) == float32_bytes(state) == 4 * (66 + 4 * 6 + 11)


@pytest.mark.parametrize("special", [-0.0, float("inf"), float("-inf"), 1e-45, 3.4e38])
def test_special_values_survive_among_zeros(special: float) -> None:
    model = nn.Linear(8, 8)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[3, 4] = special
        model.weight[0, 0] = 0.5
    _assert_same(decode(encode(model))[0], model)


def test_payloads_of_nan_survive() -> None:
    model = nn.Linear(8, 8)
    patterns = torch.tensor([0x7F800001, 0x7FC12345, -0x3FFFFF, 0x7FFFFFFF], dtype=torch.int32)
    with torch.no_grad():
        model.weight.view(-1)[5:9] = patterns.view(torch.float32)
    _assert_same(decode(encode(model))[0], model)


def test_resnet20_overhead_is_below_400_bytes_and_state_is_1084392() -> None:
    model = fold_(shared_(trained_like("resnet20"), zeros=0.98, levels=2))
    assert float32_bytes(model.state_dict()) == 1_084_392
    meta = Metadata(
        normalization=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        recipe="deep-compression",
        claimed=(10_000, 9_123),
        source="12fca82f" * 8,
    )
    data = encode(model, meta)
    state, said = decode(data)
    _assert_same(state, model)
    assert said.claimed == (10_000, 9_123)
    parts = inspect(data).parts
    assert parts["header"] + parts["other"] + parts["checksums"] < 350
    assert parts["codebooks"] < 20 * 10 + 80  # two float32 levels a layer, and the linear bias


class _Masked(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.registering = True  # registration runs the module once, in training mode

    def forward(self, weight: Tensor) -> Tensor:
        if self.training and not self.registering:
            raise AssertionError("effective weights are those of eval mode")
        return torch.where(self.mask, weight, 0.0)


def test_parametrized_models_give_the_finalized_models_file() -> None:
    model = trained_like("digits-cnn", width=4)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    model.train()
    for layer in layers:
        mask = _Masked(layer.weight.abs() > layer.weight.abs().median())
        parametrize.register_parametrization(layer, "weight", mask)
        mask.registering = False
    model.bn1.eval()
    data = encode(model)
    assert [m.training for m in (model, mask, model.bn1, model.bn2)] == [True, True, False, True]
    state = plain_state(model)
    for layer in layers:
        layer.eval()
        parametrize.remove_parametrizations(layer, "weight")
    assert encode(model) == data
    _assert_same(state | {k: v for k, v in decode(data)[0].items() if "batches" in k}, model)
    assert all("parametrizations" not in name for name in state)


def test_custom_parametrized_models_keep_the_order_of_the_plain_one() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    parametrize.register_parametrization(model[0], "weight", _Masked(torch.eye(4, dtype=torch.bool)))
    model.eval()
    data = encode(model)
    parametrize.remove_parametrizations(model[0], "weight")
    assert list(decode(data)[0]) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert encode(model) == data


def test_a_zoo_model_of_other_sizes_carries_its_layout() -> None:
    model = trained_like("digits-cnn", width=4)
    model.linear = nn.Linear(8, 3)
    _assert_same(decode(encode(model))[0], model)
    halves = trained_like("digits-cnn", width=4).half()
    _assert_same(decode(encode(halves))[0], halves)


def test_more_numbers_than_allowed_are_refused() -> None:
    data = encode(nn.Linear(10, 10))
    with pytest.raises(ArtifactError, match="declares 110 numbers, at most 109"):
        decode(data, max_elements=109)
    decode(data, max_elements=110)


def test_models_without_numbers_are_refused() -> None:
    with pytest.raises(ArtifactError, match="weight holds no numbers"):
        encode(nn.Linear(2, 2, device="meta"))


def test_an_unknown_architecture_is_refused_when_encoding() -> None:
    with pytest.raises(ArtifactError, match="Did you mean"):
        encode(nn.Linear(2, 2), Metadata(architecture="resnet21"))
