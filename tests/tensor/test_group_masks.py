"""Masks of whole groups by hand."""

from __future__ import annotations

import pytest
import torch

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import group_mask

WEIGHT = torch.tensor([3.0, 1.0, 2.0, 1.0]).reshape(4, 1, 1).expand(4, 2, 5).contiguous()


@pytest.mark.parametrize(
    ("zeros", "gone"),
    [(0, []), (4, []), (6, [1]), (10, [1]), (20, [1, 3]), (26, [1, 2, 3]), (40, [1, 2, 3])],
)
def test_the_smallest_groups_go_as_near_to_the_count_as_groups_do(zeros: int, gone: list[int]) -> None:
    mask = group_mask(WEIGHT, (1, 2), zeros)
    assert mask.shape == WEIGHT.shape
    assert [i for i in range(4) if not mask[i].any()] == gone
    assert all(bool(mask[i].all()) for i in range(4) if i not in gone)


def test_groups_may_lie_along_any_dimensions() -> None:
    weight = torch.arange(24.0).reshape(2, 3, 4)
    mask = group_mask(weight, (0, 2), 16)
    assert mask.all(0).all(1).tolist() == [False, False, True]


def test_bad_input_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"Cannot prune 41 of 40 weights"):
        group_mask(WEIGHT, (1, 2), 41)
    with pytest.raises(ModelError, match=r"1 of 2 numbers are NaN or inf"):
        group_mask(torch.tensor([[1.0], [float("nan")]]), 1, 1)
