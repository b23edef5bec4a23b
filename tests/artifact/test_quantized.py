"""Quantized layers in the file: b-bit symbols and short scales, by their entropy, bit for bit."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.artifact import budget, decode, encode, encode_and_inspect, inspect, plain_state
from pithnet.errors import ArtifactError
from pithnet.passes import prune, quantize
from pithnet.surgery import fake_quantizer, finalize, unquantized_weight, weighted_layers
from pithnet.tensor.quantizers import QUANTIZERS


def quantized(name: str, granularity: str, bits: int, sparsity: float = 0.0) -> nn.Module:
    model = zoo.build("digits-cnn")
    g = torch.Generator().manual_seed(0)
    for p in model.parameters():
        nn.init.normal_(p, 0, 0.1, generator=g)
    if sparsity:
        prune(model, sparsity)
    quantize(model, bits, quantizer=name, granularity=granularity, fit="range")
    return model


def order_0_bytes(model: nn.Module) -> float:
    """What the codes of each layer take by how often they occur, zeros being one more code."""
    total = 0.0
    for _, layer in weighted_layers(model):
        part = fake_quantizer(layer)
        assert part is not None
        rows = part.rows(unquantized_weight(layer).detach())
        codes = part.quantizer.codes(rows, part.levels(rows)).masked_fill(rows == 0, -1.0)
        counts = codes.unique(return_counts=True)[1].double()
        total -= float((counts * (counts / counts.sum()).log2()).sum()) / 8
    return total


def float16_bytes(model: nn.Module) -> int:
    """Biases and folded BN, two bytes a number."""
    return 2 * sum(p.numel() for name, p in finalize(model).named_parameters() if p.ndim < 2)


@pytest.mark.parametrize("sparsity", [0.0, 0.6])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_a_file_takes_the_entropy_of_its_codes(name: str, granularity: str, sparsity: float) -> None:
    model = quantized(name, granularity, 4, sparsity)
    final = finalize(model)
    data = encode(final)
    state, _ = decode(data)
    for key, value in plain_state(final).items():
        assert torch.equal(state[key], value), key
    assert len(data) <= 1.03 * order_0_bytes(model) + float16_bytes(model) + 600


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_other_widths_take_no_more_than_their_bits(name: str, bits: int) -> None:
    model = quantized(name, "channel", bits)
    weights = sum(layer.weight.numel() for _, layer in weighted_layers(model))
    data = encode(finalize(model))
    channels = sum(len(layer.weight) for _, layer in weighted_layers(model))
    # One bit of the source's quantizer has three levels. A scale takes four bytes.
    codes = max(bits * weights / 8, 1.03 * order_0_bytes(model)) + 4 * channels
    assert len(data) <= codes + float16_bytes(model) + 600, (codes, channels)


def test_a_model_with_quantized_activations_is_refused_with_what_to_do() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))
    quantize(model, activations=8, clip="learned", calibrate=torch.randn(9, 1, 8, 8), bits=8, fit="range")
    for refused in (model, finalize(model)):
        with pytest.raises(ArtifactError, match=r"activation quantizers .* export it to ONNX, or save"):
            encode(refused)


def test_a_file_takes_no_more_work_than_a_reader_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 130, 3, bias=False))
    with torch.no_grad():
        weight = model[0].weight
        weight.copy_(torch.where(weight.abs() > weight.abs().quantile(0.99), weight.sign(), 0.0))
    assert inspect(encode(model)).tensors[0].coding == "fixed/rans"
    monkeypatch.setattr(budget, "OF_SMALL", 400_000)
    data, account = encode_and_inspect(model)
    assert not {"kernels", "neighbours", "rans"} & set(re.split(r"\W", account.tensors[0].coding))
    assert torch.equal(decode(data)[0]["0.weight"], weight)
    assert sum(account.parts.values()) == len(data)
