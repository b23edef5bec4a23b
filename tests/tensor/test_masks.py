from __future__ import annotations

import math

import pytest
import torch

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import global_masks, keep_mask, threshold_mask


def test_ties_prune_the_lower_index_first() -> None:
    scores = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert keep_mask(scores, 2).tolist() == [[False, False], [True, True]]
    assert keep_mask(scores, 3).tolist() == [[False, False], [False, True]]


def test_ties_between_tensors_prune_the_earlier_one_first() -> None:
    first, second = global_masks([torch.ones(2), torch.ones(3)], 3)
    assert first.tolist() == [False, False]
    assert second.tolist() == [False, True, True]


def test_none_and_all() -> None:
    assert keep_mask(torch.rand(5), 0).all()
    assert not keep_mask(torch.rand(5), 5).any()
    assert keep_mask(torch.zeros(0), 0).shape == (0,)
    assert global_masks([], 0) == []


def test_a_non_contiguous_view_is_ranked_in_its_own_order() -> None:
    scores = torch.tensor([[1.0, 3.0], [2.0, 4.0]]).t()
    assert keep_mask(scores, 2).tolist() == [[False, False], [True, True]]


def test_masks_do_not_share_memory() -> None:
    first, second = global_masks([torch.rand(4), torch.rand(4)], 4)
    before = second.clone()
    first.fill_(False)
    assert torch.equal(second, before)
    assert first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr()


@pytest.mark.parametrize("zeros", [-1, 6])
def test_impossible_counts_are_refused(zeros: int) -> None:
    with pytest.raises(RecipeError, match=f"Cannot prune {zeros} of 5 weights: ask for a number from 0 to 5"):
        keep_mask(torch.rand(5), zeros)
    with pytest.raises(RecipeError, match=f"Cannot prune {zeros} of 5 weights"):
        global_masks([torch.rand(2), torch.rand(3)], zeros)


def test_scores_on_two_devices_are_refused() -> None:
    with pytest.raises(ModelError, match="move them to one device"):
        global_masks([torch.rand(2), torch.empty(0, device="meta")], 1)


def test_threshold_is_not_rounded_to_float32() -> None:
    weight = torch.tensor([0.1])  # 0.1 in float32 is above 0.1 in float64
    assert threshold_mask(weight, 0.1).tolist() == [True]
    assert threshold_mask(weight, float(weight)).tolist() == [False]


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf])
def test_bad_thresholds_are_refused(threshold: float) -> None:
    with pytest.raises(RecipeError, match=r"threshold is .*: use a finite number >= 0"):
        threshold_mask(torch.rand(3), threshold)
