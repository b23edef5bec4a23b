"""Criteria by hand, the registry and its errors; the laws do the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import CRITERIA, Evidence, criterion, get_criterion, global_masks
from pithnet.tensor.pruning.criteria import lamp, magnitude, random, snip, taylor, wanda


@pytest.fixture
def registry() -> Iterator[None]:
    """What a test registers goes with it."""
    before = dict(CRITERIA)
    yield
    CRITERIA.clear()
    CRITERIA.update(before)


def test_unknown_name_prints_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown criterion 'magnitud'. Did you mean magnitude\?"):
        get_criterion("magnitud")


def test_magnitude_is_the_absolute_value_without_gradient() -> None:
    weight = torch.tensor([-2.0, 0.5], requires_grad=True)
    scores = magnitude(Evidence(weight))
    assert scores.tolist() == [2.0, 0.5]
    assert not scores.requires_grad


def test_random_differs_between_seeds() -> None:
    weight = torch.zeros(100)
    first, second = (
        random(Evidence(weight, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1)
    )
    assert not torch.equal(first, second)
    assert 0.3 < float(first.mean()) < 0.7


def test_lamp_by_hand() -> None:
    # Squares 9, 1, 4: 9/9, 1/(1+4+9), 4/(4+9).
    scores = lamp(Evidence(torch.tensor([[3.0], [-1.0], [2.0]])))
    assert scores.flatten().tolist() == pytest.approx([1.0, 1 / 14, 4 / 13])


def test_lamp_of_zeros_and_of_tiny_weights() -> None:
    assert lamp(Evidence(torch.zeros(3))).tolist() == [0.0, 0.0, 0.0]
    assert lamp(Evidence(torch.full((2,), 1e-300, dtype=torch.float64))).tolist() == [0.5, 1.0]
    assert lamp(Evidence(torch.zeros(0))).shape == (0,)


def test_lamp_keeps_a_layer_that_magnitude_would_empty() -> None:
    small, large = Evidence(torch.full((4,), 0.01)), Evidence(torch.arange(1.0, 17.0))
    by_magnitude = global_masks([magnitude(small), magnitude(large)], 10)
    by_lamp = global_masks([lamp(small), lamp(large)], 10)
    assert int(by_magnitude[0].sum()) == 0
    assert int(by_lamp[0].sum()) > 0


def test_products_with_what_data_says_by_hand() -> None:
    weight = torch.tensor([[3.0, -1.0], [0.0, 2.0]])
    known = torch.tensor([[0.5, 4.0], [7.0, 0.25]])
    products = [[1.5, 4.0], [0.0, 0.5]]
    assert taylor(Evidence(weight, gradient_magnitude=known)).tolist() == products
    assert snip(Evidence(weight, gradient=-known)).tolist() == products
    assert wanda(Evidence(weight, input_norm=torch.tensor([[2.0, 10.0]]))).tolist() == [
        [6.0, 10.0],
        [0.0, 20.0],
    ]


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_integers_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"must be floating point, got torch.int64; convert with .float\(\)"):
        get_criterion(name)(Evidence(torch.arange(3)))


@pytest.mark.usefixtures("registry")
def test_a_function_and_a_line_make_a_criterion() -> None:
    @criterion("steep", needs=("weight", "gradient"))
    def steep(evidence: Evidence) -> Tensor:
        return evidence.gradient.abs() / (1 + evidence.weight.abs())

    found = get_criterion("steep")
    assert found is steep
    assert (found.looks_at_weight, found.needs_batches, found.needs_labels) == (True, True, True)
    scores = found(Evidence(torch.tensor([1.0, 3.0]), gradient=torch.tensor([-4.0, 2.0])))
    assert scores.tolist() == [2.0, 0.5]


def test_facts_follow_from_what_is_declared() -> None:
    facts = {n: (c.looks_at_weight, c.needs_batches, c.needs_labels) for n, c in CRITERIA.items()}
    assert facts == {
        "magnitude": (True, False, False),
        "random": (False, False, False),
        "lamp": (True, False, False),
        "taylor": (True, True, True),
        "snip": (True, True, True),
        "wanda": (True, True, False),
    }


@pytest.mark.usefixtures("registry")
def test_a_name_is_given_once_and_may_be_defined_again_by_the_same_function() -> None:
    for factor in (1.0, 2.0):

        @criterion("scaled")
        def scaled(evidence: Evidence, factor: float = factor) -> Tensor:
            return factor * evidence.weight.abs()

    assert get_criterion("scaled")(Evidence(torch.ones(1))).tolist() == [2.0]
    with pytest.raises(RecipeError, match="there is a criterion 'magnitude' already; register yours under"):
        criterion("magnitude")(lambda evidence: evidence.weight)
    assert get_criterion("magnitude") is magnitude


@pytest.mark.usefixtures("registry")
def test_a_criterion_that_breaks_its_word_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"unknown evidence 'gradients'. Did you mean gradient"):
        criterion("toy", needs=("gradients",))(lambda evidence: evidence.weight)
    undeclared = criterion("undeclared")(lambda evidence: evidence.gradient)
    with pytest.raises(
        RecipeError, match=r"'undeclared' reads the gradient .* needs=\('weight', 'gradient'\)"
    ):
        undeclared(Evidence(torch.ones(2), gradient=torch.ones(2)))
    with pytest.raises(RecipeError, match=r"'sum' gives scores of shape \(\) for weights of shape \(2,\)"):
        criterion("sum")(lambda evidence: evidence.weight.sum())(Evidence(torch.ones(2)))
    with pytest.raises(RecipeError, match="'plain' gives scores below 0"):
        criterion("plain")(lambda evidence: evidence.weight)(Evidence(torch.tensor([1.0, -1.0])))
