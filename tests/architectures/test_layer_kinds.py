"""Every kind of layer: pruned to the exact count, shared, trained, finalized, coded, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.surgery import latent_weight, weighted_layers

from .networks import numbers


def tokens() -> Tensor:
    return torch.randint(0, 9, (5, 4), generator=torch.Generator().manual_seed(1))


KINDS = {
    "linear": (lambda: nn.Linear(12, 7), torch.randn(5, 12)),
    "bilinear": (lambda: nn.Bilinear(4, 5, 6), (torch.randn(5, 4), torch.randn(5, 5))),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, dilation=2), torch.randn(3, 4, 9)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, padding_mode="circular", padding=1), torch.randn(3, 4, 7, 7)),
    "conv3d": (lambda: nn.Conv3d(2, 4, 2, bias=False), torch.randn(2, 2, 4, 4, 4)),
    "grouped": (lambda: nn.Conv2d(8, 12, 3, groups=4), torch.randn(2, 8, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(8, 16, 3, groups=8), torch.randn(2, 8, 5, 5)),
    "transposed1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2), torch.randn(2, 4, 5)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), torch.randn(2, 4, 5, 5)),
    "transposed3d": (lambda: nn.ConvTranspose3d(2, 4, 2), torch.randn(2, 2, 3, 3, 3)),
    "embedding": (lambda: nn.Embedding(9, 8, padding_idx=2), tokens()),
    "embedding bag": (lambda: nn.EmbeddingBag(9, 8, mode="mean"), tokens()),
    "attention": (lambda: nn.MultiheadAttention(8, 2, bias=False), (torch.randn(4, 3, 8),) * 3),
    "attention, mixed widths": (
        lambda: nn.MultiheadAttention(8, 2, kdim=6, vdim=4, add_bias_kv=True),
        (torch.randn(4, 3, 8), torch.randn(4, 3, 6), torch.randn(4, 3, 4)),
    ),
    "lstm cell": (lambda: nn.LSTMCell(5, 6), torch.randn(3, 5)),
    "gru cell": (lambda: nn.GRUCell(5, 6), torch.randn(3, 5)),
    "lstm": (lambda: nn.LSTM(5, 6, 2, bidirectional=True), torch.randn(3, 4, 5)),
    "projected lstm": (lambda: nn.LSTM(5, 6, proj_size=3, batch_first=True), torch.randn(3, 4, 5)),
    "gru": (lambda: nn.GRU(5, 6, bias=False), torch.randn(3, 4, 5)),
    "rnn": (lambda: nn.RNN(5, 6), torch.randn(3, 4, 5)),
    "encoder layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(3, 4, 8)),
    "decoder layer": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True),
        (torch.randn(3, 4, 8), torch.randn(3, 5, 8)),
    ),
}


class Alone(nn.Module):
    """A layer of that kind in a model."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = KINDS[kind][0]()

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> Tensor:
        out = self.layer(*x) if isinstance(x, tuple) else self.layer(x)
        return out[0] if isinstance(out, tuple) else out


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_goes_the_whole_way(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Alone(kind), KINDS[kind][1]
    total = sum(layer.weight.numel() for _, layer in weighted_layers(model))
    assert total == sum(p.numel() for n, p in model.named_parameters() if "weight" in n and "norm" not in n)
    model.eval()
    expected = model(x)
    pn.prune(model, 0.0)
    assert torch.equal(model(x), expected), "the layer does not compute with its parametrized weight"
    record = pn.prune(model, 0.5)
    assert sum(row.zeros for row in record.layers) == round(total / 2)
    assert not torch.equal(model(x), expected), "the layer does not see its mask"
    assert all(row.levels <= 4 for row in pn.share(model, bits=2).layers)
    train_(model, x)
    pn.LevelTraining(model, levels=3)
    train_(model, x)
    pn.freeze_levels(model)
    final = pn.finalize(model)
    pn.artifact.save(tmp_path / "m.pith", pn.encode(final))
    loaded = pn.load(tmp_path / "m.pith", model=Alone(kind))
    with torch.no_grad():
        assert torch.equal(loaded(x), final(x))
        torch.testing.assert_close(final(x), model(x), rtol=0.02, atol=0.02)
    weights = [layer.weight for _, layer in weighted_layers(loaded)]
    assert sum(int((w == 0).sum()) for w in weights) >= round(total / 2)
    assert all(w[w != 0].unique().numel() <= 3 for w in weights)
    twin = pn.restore(Alone(kind), model.state_dict()).eval()
    assert torch.equal(twin(x), model(x))


def train_(model: nn.Module, x: Tensor | tuple[Tensor, ...]) -> None:
    """In place, four steps; whatever trains has to move."""
    before = numbers(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for _ in range(4):
        optimizer.zero_grad()
        (model(x) - 1).square().mean().backward()
        optimizer.step()
    model.eval()
    for _, layer in weighted_layers(model):
        assert latent_weight(layer).grad is not None
    assert any(not torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_padding_row_stays_zero() -> None:
    model = Alone("embedding")
    pn.prune(model, 0.3)
    pn.share(model, bits=2)
    train_(model, tokens())
    assert not model.layer.weight[2].any()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("batch", ["padded", "whole"])
def test_torchs_fast_path_sees_the_compressed_weights(batch: str) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    pn.prune(model, 0.6)
    pn.share(model, bits=2)
    x = torch.randn(4, 6, 8)
    padding = torch.arange(6) > torch.tensor([[5], [3], [4], [1]]) if batch == "padded" else None
    slow = model.eval()(x, src_key_padding_mask=padding)
    with torch.no_grad():
        fast = model(x, src_key_padding_mask=padding)
        plain = pn.finalize(model, pn.Storage("float32", "float32", "float32"))(
            x, src_key_padding_mask=padding
        )
    assert torch.equal(fast, plain)
    kept = slice(None) if padding is None else ~padding
    torch.testing.assert_close(fast[kept], slow[kept], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_float_types_go_the_whole_way(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)).to(dtype)
    pn.prune(model, 0.5)
    pn.share(model, bits=2)
    assert model[0].weight.dtype == dtype
    final = pn.finalize(model)
    assert {p.dtype for p in final.parameters()} == {dtype}
    state, _ = pn.decode(pn.encode(final))
    for key, value in final.state_dict().items():
        assert key.endswith("tracked") or torch.equal(state[key], value)
