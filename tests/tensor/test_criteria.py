from __future__ import annotations

import pytest
import torch

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import CRITERIA, get_criterion, global_masks
from pithnet.tensor.pruning.criteria import lamp, magnitude, random


def test_unknown_name_prints_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown criterion 'magnitud'. Did you mean magnitude\?"):
        get_criterion("magnitud")


def test_magnitude_is_the_absolute_value_without_gradient() -> None:
    weight = torch.tensor([-2.0, 0.5], requires_grad=True)
    scores = magnitude(weight)
    assert scores.tolist() == [2.0, 0.5]
    assert not scores.requires_grad


def test_random_differs_between_seeds() -> None:
    weight = torch.zeros(100)
    first, second = (random(weight, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(first, second)
    assert 0.3 < float(first.mean()) < 0.7


def test_lamp_by_hand() -> None:
    # Squares 9, 1, 4: 9/9, 1/(1+4+9), 4/(4+9).
    assert lamp(torch.tensor([[3.0], [-1.0], [2.0]])).flatten().tolist() == pytest.approx(
        [1.0, 1 / 14, 4 / 13]
    )


def test_lamp_of_zeros_and_of_tiny_weights() -> None:
    assert lamp(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert lamp(torch.full((2,), 1e-300, dtype=torch.float64)).tolist() == [0.5, 1.0]
    assert lamp(torch.zeros(0)).shape == (0,)


def test_lamp_keeps_a_layer_that_magnitude_would_empty() -> None:
    small, large = torch.full((4,), 0.01), torch.arange(1.0, 17.0)
    by_magnitude = global_masks([magnitude(small), magnitude(large)], 10)
    by_lamp = global_masks([lamp(small), lamp(large)], 10)
    assert int(by_magnitude[0].sum()) == 0
    assert int(by_lamp[0].sum()) > 0


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_integers_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"must be floating point, got torch.int64; convert with .float\(\)"):
        get_criterion(name)(torch.arange(3))
