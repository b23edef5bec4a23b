"""Sharing: few values, zeros kept, prices, frozen levels, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pithnet.errors import RecipeError
from pithnet.passes import LevelTraining, freeze_levels, prune, share
from pithnet.surgery import Codebook, TrainedLevels, latent_weight, parametrization
from pithnet.tensor import kmeans_1d

from .networks import SIZES, net


@pytest.mark.parametrize("init", ["linear", "random", "density", "kmeans++", "optimal"])
def test_each_layer_gets_the_clustering_of_its_nonzero_weights(init: str) -> None:
    model = net()
    prune(model, 0.6)
    weights = {n: model[int(n)].weight.detach().clone() for n in SIZES}
    record = share(model, 3, init=init, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    for row in record.layers:
        before, after = weights[row.name], model[int(row.name)].weight.detach()
        assert torch.equal(before == 0, after == 0)
        found = kmeans_1d(before[before != 0], 8, init, generator)
        assert torch.equal(after[after != 0], found.values())
        assert row.levels == after[after != 0].unique().numel() <= 8
        assert row.zeros == int((before == 0).sum())


@pytest.mark.parametrize("wrong", [{"init": "lin"}, {"rate_weight": -1.0}, {"bits": 17}])
def test_what_cannot_be_shared_is_said_before_a_layer_changes(wrong: dict[str, object]) -> None:
    model = net()
    with torch.no_grad():
        model[0].weight.zero_()  # nothing in it would be clustered
    for build in (share, LevelTraining):
        with pytest.raises(RecipeError):
            build(model, **{"bits": 2, **wrong})
    assert type(model[0]) is nn.Conv2d


def test_levels_and_bits_are_two_names_for_the_same() -> None:
    by_bits, by_levels = net(), net()
    share(by_bits, 2)
    share(by_levels, levels=4)
    assert torch.equal(by_bits[6].weight, by_levels[6].weight)


def test_a_rate_weight_gives_fewer_bits_for_more_distortion() -> None:
    plain, cheap = net(), net()
    weight = plain[6].weight.detach().clone()
    share(plain, 3)
    share(cheap, 3, rate_weight=0.2)

    def entropy(model: nn.Module) -> float:
        _, counts = model[6].weight.detach().unique(return_counts=True)
        p = counts / counts.sum()
        return float(-(p * p.log2()).sum())

    def distortion(model: nn.Module) -> float:
        return float((model[6].weight.detach() - weight).square().sum())

    assert entropy(cheap) < entropy(plain) - 0.3
    assert distortion(cheap) > distortion(plain)


def test_an_empty_layer_shares_nothing() -> None:
    model = net()
    prune(model, 1.0, skip=("0", "3"))
    record = share(model, 2)
    assert record.layers[2].levels == 0
    assert latent_weight(model[6]).shape == (0,)
    assert not model[6].weight.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 0}, "bits must be from 1 to 16, not 0"),
        ({"bits": 17}, "bits must be from 1 to 16, not 17"),
        ({"levels": 0}, "levels must be from 1 to 65535, not 0"),
        ({"levels": 65_536}, "levels must be from 1 to 65535"),
        ({}, "either bits or levels"),
        ({"bits": 2, "levels": 4}, "either bits or levels"),
        ({"bits": 2, "init": "liner"}, "'liner'. Did you mean linear"),
        ({"bits": 2, "rate_weight": -1.0}, "rate_weight"),
        ({"bits": 2, "skip": ("conv",)}, "'conv' matches no layer"),
    ],
)
@pytest.mark.parametrize("kind", [share, LevelTraining])
def test_a_wrong_argument_is_refused(kind: type, arguments: dict, message: str) -> None:
    model = net()
    with pytest.raises(RecipeError, match=message):
        kind(model, **arguments)
    assert parametrization(model[0], Codebook) is None
    assert parametrization(model[0], TrainedLevels) is None


def trained_levels(layer: nn.Module) -> TrainedLevels:
    found = parametrization(layer, TrainedLevels)
    assert isinstance(found, TrainedLevels)
    return found


def test_a_level_costs_its_code_length_in_mean_squares() -> None:
    model = net()
    prune(model, 0.5)
    weight = model[6].weight.detach().clone()
    LevelTraining(model, levels=4, rate_weight=0.05)
    levels = trained_levels(model[6])
    chosen = model[6].weight.detach()
    # The prices were set from the choice before there were any: the plain nearest level.
    index = (weight[weight != 0][:, None] - levels.levels.detach()).square().argmin(1)
    share_of = index.bincount(minlength=len(levels.prices)).double() / len(index)
    mean_square = float(weight[weight != 0].double().square().mean())
    for price, p in zip(levels.prices.tolist(), share_of.tolist(), strict=True):
        assert price == pytest.approx(0.05 * mean_square * -math.log2(p), rel=1e-5)
    cost = (weight[..., None] - levels.levels.detach()).square() + levels.prices
    assert torch.equal(chosen, torch.where(weight == 0, 0.0, levels.levels.detach()[cost.argmin(-1)]))


def test_without_a_rate_weight_levels_are_free() -> None:
    model = net()
    LevelTraining(model, levels=3)
    assert not trained_levels(model[3]).prices.any()


def test_prices_are_set_anew_as_the_training_goes_on_and_not_after_it() -> None:
    model = net()
    schedule = LevelTraining(model, levels=3, rate_weight=0.1, updates=4)
    first = trained_levels(model[6]).prices.clone()
    with torch.no_grad():
        latent_weight(model[6]).mul_(2.0)
    schedule(0.2)
    assert torch.equal(trained_levels(model[6]).prices, first), "an update came too early"
    schedule(0.25)
    later = trained_levels(model[6]).prices.clone()
    assert not torch.equal(later, first)
    with torch.no_grad():
        latent_weight(model[6]).mul_(2.0)
    schedule(1.0)
    assert torch.equal(trained_levels(model[6]).prices, later)


def test_freezing_gives_the_values_and_drops_unused_levels() -> None:
    model = net()
    LevelTraining(model, levels=5, rate_weight=0.1)
    with torch.no_grad():
        trained_levels(model[3]).levels[2] = 100.0
    values = [model[int(n)].weight.detach().clone() for n in SIZES]
    record = freeze_levels(model)
    for name, value, row in zip(SIZES, values, record.layers, strict=True):
        assert torch.equal(model[int(name)].weight, value)
        assert len(latent_weight(model[int(name)])) == row.levels == value[value != 0].unique().numel()
    assert record.layers[1].levels < 5


def test_freezing_needs_trained_levels() -> None:
    with pytest.raises(RecipeError, match="no layer has trained levels"):
        freeze_levels(net())
