"""LSTM, GRU and RNN compute with their compressed weights, in every mode and after every move."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import pithnet as pn
from pithnet.surgery import latent_weight, release_all, set_mask, weighted_layers

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")
RECURRENT: dict[str, Callable[[], nn.RNNBase]] = {
    "lstm": lambda: nn.LSTM(5, 6, batch_first=True),
    "gru": lambda: nn.GRU(5, 6, batch_first=True),
    "rnn": lambda: nn.RNN(5, 6, batch_first=True),
    "deep": lambda: nn.GRU(5, 6, 3, batch_first=True, dropout=0.2),
    "both ways": lambda: nn.LSTM(5, 6, 2, batch_first=True, bidirectional=True),
    "projected": lambda: nn.LSTM(5, 6, batch_first=True, proj_size=3),
}


class Classifier(nn.Module):
    """Sequences (N, T, 5), or packed ones, to two classes."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rnn = RECURRENT[kind]()
        width = (self.rnn.proj_size or 6) * (2 if self.rnn.bidirectional else 1)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor | PackedSequence) -> Tensor:
        out, _ = self.rnn(x)
        return self.head(out.data if isinstance(out, PackedSequence) else out.mean(1))


def build(kind: str) -> Classifier:
    torch.manual_seed(0)
    return Classifier(kind)


def sequences() -> Tensor:
    return torch.randn(8, 7, 5, generator=torch.Generator().manual_seed(1))


def zeroed_(model: nn.Module) -> nn.Module:
    """In place: masks every recurrent weight away, so that the input no longer matters."""
    for name, layer in weighted_layers(model):
        if name.startswith("rnn"):
            set_mask(layer, torch.zeros_like(layer.weight, dtype=torch.bool))
    return model


def hears_its_input(model: nn.Module, x: Tensor) -> bool:
    return not torch.equal(model(x), model(x + 1))


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_mask_is_seen_at_once_in_train_and_in_eval_mode(kind: str) -> None:
    model, x = build(kind), sequences()
    for module in (model.train(), model.eval()):
        module(x)  # what was computed before must not be kept
    for mode in (True, False):
        masked = zeroed_(copy.deepcopy(model)).train(mode)
        torch.manual_seed(3)
        first = masked(x)
        torch.manual_seed(3)
        assert torch.equal(masked(x + 1), first)
        assert hears_its_input(model.eval(), x)


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_mask_is_seen_after_every_move(kind: str, tmp_path: Path) -> None:
    x, model = sequences(), zeroed_(build(kind)).eval()
    moved = {
        "deep copy": copy.deepcopy(model),
        "deep copy after a training pass": _trained_once(copy.deepcopy(model), x),
        "to": copy.deepcopy(model).to(torch.float64),
        "flattened": copy.deepcopy(model),
        "loaded": build(kind),
        "finalized": pn.finalize(model),
        "released": copy.deepcopy(model),
    }
    moved["flattened"].rnn.flatten_parameters()
    pn.restore(moved["loaded"], model.state_dict())
    moved["loaded again"] = copy.deepcopy(moved["loaded"])
    moved["loaded again"].load_state_dict(model.state_dict())
    release_all(moved["released"])
    pn.save(moved["finalized"], tmp_path / "m.pith")
    moved["file"] = pn.load(tmp_path / "m.pith", model=build(kind))
    moved["file, trainable"] = pn.load(tmp_path / "m.pith", model=build(kind), trainable=True)
    for what, network in moved.items():
        y = x.to(next(network.parameters()).dtype)
        assert not hears_its_input(network.eval(), y), what
        copy.deepcopy(network)  # holds nothing that was computed


def _trained_once(model: nn.Module, x: Tensor) -> nn.Module:
    model.train()(x).sum().backward()
    return copy.deepcopy(model).eval()


@pytest.mark.parametrize("kind", RECURRENT)
def test_gradients_reach_and_zeros_stay(kind: str) -> None:
    model, x = build(kind), sequences()
    pn.prune(model, 0.6, scope="uniform")
    before = {name: layer.weight == 0 for name, layer in weighted_layers(model)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    start, model = model(x), model.train()
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(8) % 2).backward()
        optimizer.step()
    for name, layer in weighted_layers(model):
        grad = latent_weight(layer).grad
        assert grad is not None
        assert bool(grad.any()), name
        assert not bool(grad[before[name]].any()), name
        assert torch.equal(layer.weight == 0, before[name]), name
    assert not torch.equal(model(x), start)


@pytest.mark.parametrize("kind", RECURRENT)
def test_sharing_and_quantizing_are_what_it_computes(kind: str, tmp_path: Path) -> None:
    x = sequences()
    for change in (lambda m: pn.share(m, bits=2), lambda m: pn.quantize(m, bits=3, fit="range")):
        model = build(kind).eval()
        change(model)
        by_hand = build(kind).eval()
        with torch.no_grad():
            for (_, mine), (_, plain) in zip(weighted_layers(model), weighted_layers(by_hand), strict=True):
                plain.weight.copy_(mine.weight)
        assert torch.equal(model(x), by_hand(x))
        assert not torch.equal(model(x), build(kind).eval()(x))
        final = pn.finalize(model, pn.Storage(other="float32"))
        pn.save(final, tmp_path / "m.pith")
        assert torch.equal(pn.load(tmp_path / "m.pith", model=build(kind))(x), final(x))


def test_packed_sequences_go_through_the_mask() -> None:
    model, x = build("both ways").eval(), sequences()
    lengths = torch.tensor([7, 7, 6, 5, 4, 3, 2, 1])
    packed = pack_padded_sequence(x, lengths, batch_first=True)
    pn.prune(model, 0.5)
    plain = pn.finalize(model, pn.Storage(other="float32"))
    assert torch.equal(model(packed), plain(packed))
    assert not torch.equal(model(packed), build("both ways").eval()(packed))


def test_a_weight_tied_into_a_recurrent_layer_is_one_weight() -> None:
    model = build("rnn")
    model.embed = nn.Linear(5, 6, bias=False)
    model.rnn.weight_ih_l0 = model.embed.weight
    record = pn.prune(model, 0.5)
    assert [row.name for row in record.layers] == ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "head"]
    assert torch.equal(model.embed.weight, model.rnn.weight_ih_l0)
    final = pn.finalize(model)
    assert final.embed.weight is final.rnn.weight_ih_l0 is final.rnn._flat_weights[0]
