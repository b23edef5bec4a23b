"""What holds for every criterion of channels, however the members of a channel are added up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import AGGREGATIONS, CHANNEL_CRITERIA
from pithnet.tensor.pruning.channel_criteria import ChannelCriterion

CRITERIA = sorted(CHANNEL_CRITERIA)
REPEATING = [name for name in CRITERIA if name != "random"]
WAYS = sorted(AGGREGATIONS)


def members(*sizes: int, channels: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(sum(sizes))
    return [torch.randn(channels, size, generator=generator, dtype=torch.float64) for size in sizes]


def scores(name: str, own: list[Tensor], way: str = "mean") -> Tensor:
    return CHANNEL_CRITERIA[name](own, torch.Generator().manual_seed(5), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CRITERIA)
def test_scores_are_finite_not_negative_and_repeatable(name: str, way: str) -> None:
    for channels in (1, 2, 9):
        own = members(4, 3, 4, channels=channels)
        before = [member.clone() for member in own]
        found = scores(name, own, way)
        assert found.shape == (channels,)
        assert found.dtype in (torch.float32, torch.float64)
        assert bool(torch.isfinite(found).all())
        assert bool((found >= 0).all())
        assert torch.equal(found, scores(name, own, way))
        assert all(torch.equal(member, old) for member, old in zip(own, before, strict=True))
        assert bool(torch.isfinite(scores(name, [torch.zeros(channels, 3)], way)).all())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", REPEATING)
def test_a_score_belongs_to_its_channel_wherever_it_stands(name: str, way: str) -> None:
    own, order = members(4, 6), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    moved = scores(name, [member[order] for member in own], way)
    torch.testing.assert_close(moved, scores(name, own, way)[order], rtol=1e-9, atol=1e-12)
    assert len(moved.unique()) == 7


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [name for name in CRITERIA if CHANNEL_CRITERIA[name].zero_is_least])
def test_a_channel_of_zeros_scores_zero_and_others_more(name: str, way: str) -> None:
    own = members(4, 6)
    for member in own:
        member[2] = 0
    found = scores(name, own, way)
    assert found[2] == 0
    assert bool((found[[0, 1, 3, 4, 5, 6]] > 0).all())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", REPEATING)
def test_neither_a_sign_nor_a_unit_of_measurement_changes_the_order(name: str, way: str) -> None:
    own = members(4, 6)
    found = scores(name, [-(2.0**-9) * member for member in own], way)
    assert torch.equal(found.argsort(), scores(name, own, way).argsort())


@pytest.mark.parametrize("name", [name for name in REPEATING if name != "lamp"])
def test_members_alike_are_added_up_as_the_aggregation_says(name: str) -> None:
    one = members(5)
    alone, thrice = scores(name, one), {way: scores(name, one * 3, way) for way in WAYS}
    for way in ("mean", "max", "first"):
        torch.testing.assert_close(thrice[way], alone, rtol=1e-9, atol=0)
    assert bool((thrice["sum"] > 1.5 * alone).all())


@pytest.mark.parametrize("name", REPEATING)
def test_the_first_member_alone_is_the_first(name: str) -> None:
    own = members(4, 6)
    torch.testing.assert_close(scores(name, own, "first"), scores(name, own[:1]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", CRITERIA)
def test_nan_and_inf_are_refused(name: str, bad: float) -> None:
    own = members(4)
    own[0][1, 2] = bad
    with pytest.raises(ModelError, match=f"{name}: a channel's .*: 1 of 28 numbers are NaN or inf"):
        scores(name, own)


def test_lamp_gives_the_largest_channel_of_every_group_one() -> None:
    own = [torch.tensor([[3.0], [0.0], [1.0], [2.0]])]
    expected = torch.tensor([9 / 9, 0, 1 / 14, 4 / 13], dtype=torch.float64)
    for way in WAYS:
        torch.testing.assert_close(scores("lamp", own, way), expected)


def test_unknown_aggregations_are_refused() -> None:
    with pytest.raises(RecipeError, match="unknown aggregation 'maximum'"):
        scores("l1", members(4), "maximum")


def test_a_criterion_that_reads_what_there_is_not_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"unknown kind of numbers .* 'weights'. Did you mean weight"):
        ChannelCriterion("mine", lambda member: member.sum(1), reads="weights")
