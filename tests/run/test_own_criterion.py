"""A criterion of the user's own: a function and a line, for `prune`, plans and recipes alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.run.plan import make_plan
from pithnet.tensor import CRITERIA, Evidence, criterion


@pytest.fixture(autouse=True)
def near_to_the_mean() -> Iterator[None]:
    @criterion("far-from-mean")
    def far_from_mean(evidence: Evidence) -> Tensor:
        return (evidence.weight - evidence.weight.mean()).abs()

    yield
    del CRITERIA["far-from-mean"]


def network() -> nn.Module:
    """Weights around 1, so that what is near to the mean is not what is small."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20, bias=False), nn.ReLU(), nn.Linear(20, 3, bias=False))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.add_(1.0)
    return model


def expected(weight: Tensor) -> Tensor:
    """Whether each weight stays where half of them go."""
    distance = (weight - weight.mean()).abs().detach()
    return distance > distance.flatten().sort().values[weight.numel() // 2 - 1]


def test_prune_goes_by_it() -> None:
    model = network()
    kept = [expected(model[i].weight) for i in (0, 2)]
    pn.prune(model, 0.5, scope="uniform", criterion="far-from-mean")
    assert all(torch.equal(model[i].weight != 0, stay) for i, stay in zip((0, 2), kept, strict=True))
    assert not torch.equal(kept[0], network()[0].weight > network()[0].weight.median())


def test_a_recipe_goes_by_it() -> None:
    model = network()
    step = {"prune": {"sparsity": 0.5, "scope": "uniform", "criterion": "far-from-mean"}}
    recipe = pn.recipe.parse({"name": "mine", "steps": [step]}, "mine")
    assert [row.zeros for row in make_plan(model, recipe).layers] == [60, 30]
    found = pn.compress(model, recipe=recipe, rivals=False).model
    for i in (0, 2):
        assert torch.equal(found[i].weight != 0, expected(model[i].weight))


@pytest.mark.parametrize("ramp", [0.0, 0.5])
def test_a_recipe_gives_a_criterion_its_batches_and_prunes_whole_neurons(ramp: float) -> None:
    model = network()
    g = torch.Generator().manual_seed(0)
    train = [(torch.randn(8, 6, generator=g), torch.randint(3, (8,), generator=g)) for _ in range(2)]
    prune = {"sparsity": 0.5, "criterion": "taylor", "granularity": "neuron", "skip": ["2"], "ramp": ramp}
    step = {"prune": prune, "train": {"epochs": 2, "lr": 0.01}}
    recipe = pn.recipe.parse({"name": "mine", "steps": [step]}, "mine")
    found = pn.compress(model, train, recipe=recipe, rivals=False).model
    assert int((found[0].weight == 0).all(1).sum()) == int((found[0].weight == 0).any(1).sum()) == 10
    if not ramp:
        pn.prune(model, 0.5, criterion="taylor", granularity="neuron", skip=("2",), batches=train)
        assert torch.equal(found[0].weight == 0, model[0].weight == 0)
