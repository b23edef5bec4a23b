"""Chains of parametrizations: shared by all holders of a weight, copied, released."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pithnet.errors import ModelError
from pithnet.passes import share
from pithnet.surgery import (
    Codebook,
    Mask,
    TrainedLevels,
    attach,
    chain,
    latent_weight,
    parametrization,
    release,
    release_all,
    set_codebook,
    set_mask,
    set_trained_levels,
    shared_parameters,
    weighted_layers,
)

from .compressed import CHAINS, effective, levels, net, sgd, train_plainly


@pytest.mark.parametrize("name", CHAINS)
def test_a_deep_copy_is_equal_and_independent(name: str) -> None:
    model = net()
    CHAINS[name](model)
    before, twin = effective(model), copy.deepcopy(model)
    assert all(torch.equal(a, b) for a, b in zip(before, effective(twin), strict=True))
    train_plainly(twin, sgd(twin), 2)
    assert all(torch.equal(a, b) for a, b in zip(before, effective(model), strict=True))
    for _, layer in weighted_layers(twin):
        release(layer)
    # Releasing the copy leaves the original parametrized.
    assert all(torch.equal(a, b) for a, b in zip(before, effective(model), strict=True))
    train_plainly(model, sgd(model), 1)


@pytest.mark.parametrize(("levels_", "dtype"), [(255, torch.uint8), (256, torch.int32)])
def test_an_index_takes_the_smallest_type_that_holds_it(levels_: int, dtype: torch.dtype) -> None:
    layer = nn.Linear(32, 32)
    index = torch.arange(32 * 32).remainder(levels_ + 1).view(32, 32)
    set_codebook(layer, index, torch.arange(1.0, levels_ + 1))
    codebook = parametrization(layer, Codebook)
    assert isinstance(codebook, Codebook)
    assert codebook.index.dtype == dtype
    assert torch.equal(layer.weight, index.float())


def test_a_shared_weight_cannot_be_masked() -> None:
    layer = nn.Linear(4, 4)
    share(layer, 1)
    with pytest.raises(ModelError, match="pruned before it is shared"):
        set_mask(layer, torch.ones(4, 4, dtype=torch.bool))


def test_release_keeps_values_and_gives_plain_parameters() -> None:
    model = net()
    levels(model)
    values = effective(model)
    for _, layer in weighted_layers(model):
        release(layer)
        assert isinstance(layer.weight, nn.Parameter)
        assert parametrization(layer, Mask) is None
    assert all(torch.equal(a, b) for a, b in zip(values, effective(model), strict=True))
    assert sorted(model.state_dict()) == sorted(net().state_dict())


def test_shared_parameters_say_how_many_weights_share_a_value() -> None:
    layer = nn.Linear(10, 1, bias=False)
    set_codebook(layer, torch.tensor([[0, 0, 1, 1, 1, 2, 2, 2, 2, 2]]), torch.tensor([1.0, 2.0]))
    ((centroids, members),) = shared_parameters(nn.Sequential(layer))
    assert centroids is latent_weight(layer)
    assert members == 4.0


def three_holders() -> nn.Module:
    """A weight that two layers hold, and the root under two names."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model.register_parameter("table", model[0].weight)
    model.register_parameter("again", model[0].weight)
    return model


def test_all_holders_share_one_chain_and_one_tensor() -> None:
    model = three_holders()
    parameter = model[0].weight
    (name, tied), (other, _) = weighted_layers(model)
    assert (name, other) == ("0", "2")
    set_mask(tied, torch.eye(4, dtype=torch.bool))
    set_trained_levels(tied, torch.tensor([-0.2, 0.2]), torch.zeros(2))
    assert [type(part) for part in chain(tied)] == [Mask, TrainedLevels]
    assert latent_weight(tied) is parameter
    for holder in (model[1], model):
        held = holder.parametrizations["weight" if holder is model[1] else "table"]
        assert held is model[0].parametrizations["weight"]
    expected = model[0].weight
    assert torch.equal(model[1].weight, expected)
    assert torch.equal(model.table, expected)
    assert len(list(model.parameters())) == 5  # the weight, its levels, two biases, the last weight
    set_mask(tied, torch.ones(4, 4, dtype=torch.bool))
    assert int(model.again.count_nonzero()) == 16


def test_released_holders_hold_one_plain_parameter() -> None:
    model = three_holders()
    share(model, 1)
    values = model[0].weight.detach().clone()
    tied = next(layer for _, layer in weighted_layers(model))
    parameter = latent_weight(tied)
    release(tied)
    release(tied)
    assert model[0].weight is model[1].weight is model.table is model.again is parameter
    assert torch.equal(parameter, values)
    assert type(model) is nn.Sequential
    assert type(model[1]) is nn.Linear
    assert parametrization(model[2], Codebook) is not None


def test_a_copy_of_a_tie_is_a_tie_of_its_own() -> None:
    model = three_holders()
    share(model, 1)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        latent_weight(twin[0]).add_(1.0)
    assert torch.equal(twin.table, twin[1].weight)
    assert not torch.equal(twin.table, model.table)
    release_all(twin)
    assert twin[0].weight is twin.table
    assert torch.equal(model[0].weight, model.table)


def test_a_second_tensor_parametrized_on_a_copy_leaves_the_original_alone() -> None:
    model = nn.MultiheadAttention(4, 2, kdim=3, vdim=3)
    weights = dict(weighted_layers(model))
    set_mask(weights["q_proj_weight"], torch.eye(4, dtype=torch.bool))
    twin = copy.deepcopy(model)
    set_mask(dict(weighted_layers(twin))["k_proj_weight"], torch.zeros(4, 3, dtype=torch.bool))
    assert not twin.k_proj_weight.any()
    assert isinstance(model.k_proj_weight, nn.Parameter)
    assert int(model.k_proj_weight.count_nonzero()) == 12


def test_a_part_of_ones_own_is_attached_after_the_others() -> None:
    class Halved(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight / 2

    model = three_holders()
    before = model[0].weight.detach().clone()
    tied = next(layer for _, layer in weighted_layers(model))
    set_mask(tied, torch.eye(4, dtype=torch.bool))
    attach(tied, Halved())
    assert torch.equal(model.table, torch.where(torch.eye(4, dtype=torch.bool), before / 2, 0.0))


def test_release_all_takes_off_other_libraries_too() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4))
    share(model, 1, skip=("0",))
    expected = model(torch.eye(4))
    release_all(model)
    assert sorted(model.state_dict()) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    torch.testing.assert_close(model(torch.eye(4)), expected)


@pytest.mark.parametrize("kind", ["codebook", "levels"])
def test_what_shares_a_frozen_weight_does_not_train(kind: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False).requires_grad_(False))
    index = torch.arange(16).view(4, 4) % 3
    if kind == "codebook":
        set_codebook(model[0], index, torch.tensor([1.0, 2.0]))
    else:
        set_trained_levels(model[0], torch.tensor([1.0, 2.0]), torch.zeros(2))
    assert not any(p.requires_grad for p in model.parameters())
    assert list(shared_parameters(model)) == []
