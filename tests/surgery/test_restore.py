"""A state_dict's keys bring masks, codebooks and levels back, ties included."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pithnet.errors import ModelError
from pithnet.passes import prune, share
from pithnet.surgery import restore, weighted_layers

from .compressed import CHAINS, effective, levels, masked, net, sgd, train_plainly


@pytest.mark.parametrize("name", CHAINS)
def test_restore_rebuilds_every_chain_from_its_state(name: str) -> None:
    model = net()
    CHAINS[name](model)
    train_plainly(model, sgd(model), 2)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    restored = restore(net(), state)
    for old, new in zip(effective(model), effective(restored), strict=True):
        assert torch.equal(old, new)
    for key, value in restored.state_dict().items():
        assert torch.equal(value, state[key]), key
    # It trains on as the original does, so what is trainable and what is recoverable came back too.
    train_plainly(model, sgd(model), 3)
    train_plainly(restored, sgd(restored), 3)
    for old, new in zip(effective(model), effective(restored), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", CHAINS)
def test_restore_replaces_what_is_on_the_model_already(name: str) -> None:
    model, other = net(), net()
    CHAINS[name](model)
    levels(other)
    restore(other, model.state_dict())
    for old, new in zip(effective(model), effective(other), strict=True):
        assert torch.equal(old, new)


def test_a_layer_alone_is_restored_too() -> None:
    layer = nn.Linear(6, 4)
    prune(layer, 0.5)
    share(layer, 2)
    twin = restore(nn.Linear(6, 4), layer.state_dict())
    assert torch.equal(twin.weight, layer.weight)


def test_a_layer_used_twice_is_restored_once() -> None:
    def twice() -> nn.Module:
        layer = nn.Linear(4, 4)
        return nn.Sequential(layer, nn.ReLU(), layer)

    model = twice()
    levels(model)
    twin = restore(twice(), model.state_dict())
    assert torch.equal(twin[0].weight, model[0].weight)
    assert twin[0] is twin[2]


def test_restore_names_what_does_not_fit() -> None:
    model = net()
    masked(model)
    state = model.state_dict()
    with pytest.raises(ModelError, match="compressed layer '5', the model has no such layer"):
        restore(nn.Sequential(*list(net())[:5]), state)
    with pytest.raises(ModelError, match="compressed layer '3', the model a ReLU there"):
        restore(nn.Sequential(*list(net())[:3], nn.ReLU()), state)
    wider = net()
    wider[1] = nn.BatchNorm2d(7)
    with pytest.raises(ModelError, match=r"1\.weight"):
        restore(wider, state)
    odd = {k.replace("mask", "mystery"): v for k, v in state.items()}
    with pytest.raises(ModelError, match="unknown parametrization"):
        restore(net(), odd)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 4), nn.Linear(4, 6))
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize("compress", [masked, levels, lambda model: share(model, 2)])
def test_a_tie_is_restored_as_a_tie(compress: Callable[[nn.Module], object]) -> None:
    model = tied()
    compress(model)
    twin = restore(tied(), model.state_dict())
    assert torch.equal(twin[0].weight, model[0].weight)
    assert twin[2].parametrizations["weight"] is twin[0].parametrizations["weight"]
    assert len(list(twin.parameters())) == len(list(model.parameters()))


def test_what_is_tied_in_the_model_only_is_refused() -> None:
    apart = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 4), nn.Linear(4, 6))
    with pytest.raises(ModelError, match=r"ties 0\.weight to 2\.weight, the state holds different numbers"):
        restore(tied(), apart.state_dict())
    prune(apart, 0.5)
    with pytest.raises(ModelError, match=r"ties .*0\.parametrizations\.weight.* to 2\.parametrizations"):
        restore(tied(), apart.state_dict())
    half = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 4), nn.Linear(4, 6))
    prune(half, 0.5, skip=("2",))
    with pytest.raises(
        ModelError, match=r"ties 0\.weight to 2\.weight, the state holds a compressed 0\.weight"
    ):
        restore(tied(), half.state_dict())


def test_shapes_and_indices_are_checked_before_anything_is_built() -> None:
    wide = nn.Sequential(nn.Linear(4, 4), nn.Linear(6, 4))
    for compress in (masked, lambda m: share(m, 2)):
        model, other = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), wide
        compress(model)
        share(other, 2)  # what is on the model stays too
        kept = list(other.state_dict())
        with pytest.raises(ModelError, match=r"1\.weight is \[4, 4\] in the state and \[4, 6\] in the model"):
            restore(other, model.state_dict())
        assert list(other.state_dict()) == kept
    state = dict(model.state_dict())
    state["1.parametrizations.weight.0.index"] = torch.full((4, 4), 9)
    with pytest.raises(ModelError, match=r"1\.weight has indices beyond its codebook of 4"):
        restore(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), state)
    del state["1.parametrizations.weight.original"]
    with pytest.raises(ModelError, match=r"no 1\.parametrizations\.weight\.original"):
        restore(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), state)


def test_attention_comes_back() -> None:
    def make() -> nn.Module:
        return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    model = make()
    prune(model, 0.5)
    share(model, 2)
    twin = restore(make(), model.state_dict())
    for (_, a), (_, b) in zip(weighted_layers(model), weighted_layers(twin), strict=True):
        assert torch.equal(a.weight, b.weight)
    assert list(twin.state_dict()) == list(model.state_dict())


def test_other_libraries_parametrizations_stay_where_the_model_is_built_with_them() -> None:
    def make() -> nn.Module:
        return nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 4))

    model = make()
    prune(model, 0.5, skip=("0",))
    twin = restore(make(), model.state_dict())
    for key, value in twin.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])
    with pytest.raises(ModelError, match="has an unknown parametrization"):
        restore(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), model.state_dict())
