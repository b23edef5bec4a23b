"""Faults of recipes, labels and losses end in one sentence that says where and what."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pithnet as pn

TRAINED = {"steps": [{"prune": {"sparsity": 0.5}, "train": {"epochs": 1, "lr": 0.01}}]}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def batches(*labels: list[int]) -> list[tuple[Tensor, Tensor]]:
    g = torch.Generator().manual_seed(0)
    return [(torch.randn(len(y), 6, generator=g), torch.tensor(y)) for y in labels]


def test_a_recipe_may_be_a_dict(model: nn.Module) -> None:
    steps = [{"prune": {"sparsity": 0.5}}, {"share": {"bits": 2}}]
    result = pn.compress(model, recipe={"steps": steps}, rivals=False)
    assert result.result.recipe == "custom"
    named = pn.compress(model, recipe={"name": "mine", "steps": steps}, rivals=False)
    assert named.result.recipe == "mine"
    parsed = pn.compress(
        model, recipe=pn.recipe.parse({"name": "mine", "steps": steps}, "test"), rivals=False
    )
    assert named.result.data == parsed.result.data


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "recipe: key 'steps' is missing"),
        (
            {"steps": [{"prune": {"sparsty": 0.5}}]},
            r"recipe: unknown key .*sparsty.* Did you mean sparsity\?",
        ),
        ({"steps": [{"prune": {"sparsity": 2}}]}, r"recipe: steps\.0\.prune\.sparsity: .* \(got 2\)"),
        ({"steps": [{"share": {"bits": 4}}], 1: 2}, "recipe: keys are names, and one is 1"),
        (None, "recipe is a NoneType; give a preset's name"),
        ([{"prune": {"sparsity": 0.5}}], "recipe is a list; give a preset's name"),
    ],
)
def test_a_recipe_that_is_not_valid_is_one_sentence(model: nn.Module, recipe: Any, message: str) -> None:
    with pytest.raises(pn.RecipeError, match=message) as caught:
        pn.compress(model, recipe=recipe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [3, 7, -1])
def test_a_bad_label_in_a_later_batch_is_named(model: nn.Module, wrong: int) -> None:
    train = batches([0, 1, 2], [2, 1, 0], [1, wrong, 0])
    with pytest.raises(
        pn.DataError, match=rf"training batch 3: the model has 3 classes, and a label is {wrong};"
    ):
        pn.compress(model, train=train, recipe=TRAINED)


def test_a_loss_that_fails_on_a_later_batch_names_it(model: nn.Module) -> None:
    train = batches([0, 1, 2], [2, 9, 0])
    message = r"training batch 2: loss\(outputs, targets\) fails .* targets int64 \(3,\) from 0 to 9: "
    with pytest.raises(pn.DataError, match=message):
        pn.compress(model, train=train, recipe=TRAINED, loss=F.cross_entropy)


class Detector(nn.Module):
    """Losses in train mode, boxes in eval mode, as detection networks give them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))

    def forward(self, x: Tensor, boxes: Tensor) -> Any:
        found = self.body(x)
        return {"boxes": (found - boxes).square().mean()} if self.training else [found]


def summed(outputs: dict[str, Tensor], targets: object) -> Tensor:
    return sum(outputs.values())  # type: ignore[return-value]


def detections() -> list[tuple[tuple[Tensor, Tensor], None]]:
    g = torch.Generator().manual_seed(0)
    return [((torch.randn(4, 6, generator=g), torch.randn(4, 4, generator=g)), None) for _ in range(2)]


def random_states() -> list[Any]:
    return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002


def test_a_loss_that_needs_train_mode_is_tried_there_and_leaves_no_trace() -> None:
    torch.manual_seed(0)
    model = Detector()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    chance = random_states()

    def distance(outputs: list[Tensor], targets: object) -> Tensor:
        return outputs[0].square().mean(1)

    result = pn.compress(
        model,
        train=detections(),
        val=detections(),
        recipe=TRAINED,
        loss=summed,
        metric=distance,
        rivals=False,
    )
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert random_states() == chance
    assert result.after is not None
    assert result.after.loss is None, "in eval mode there is no loss to measure"
    weights = torch.cat([m.weight.flatten() for m in result.model.modules() if isinstance(m, nn.Linear)])
    assert int((weights == 0).sum()) == len(weights) // 2


def test_a_loss_that_fails_in_both_modes_is_refused() -> None:
    with pytest.raises(
        pn.DataError, match=r"train: loss\(outputs, targets\) fails .*\{boxes: float32 \(\)\}"
    ):
        pn.compress(
            Detector(), train=detections(), recipe=TRAINED, loss=lambda outputs, targets: outputs["x"]
        )


def test_a_loss_that_fails_alike_in_train_mode_is_refused_as_before(model: nn.Module) -> None:
    with pytest.raises(pn.DataError, match=r"fails on the first batch, outputs float32 \(3, 3\)"):
        pn.compress(
            model, train=batches([0, 1, 2]), recipe=TRAINED, loss=lambda outputs, targets: outputs["x"]
        )
