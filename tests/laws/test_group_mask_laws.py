"""Groups go whole, the lowest mean first, as near to the count as groups allow; N of every M stay."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import global_masks, group_masks, keep_mask, n_of_m_mask

SPANS = [(), (0,), (1,), (0, 2), (1, 2), (0, 1, 2)]
quick = settings(max_examples=60, deadline=None)
# Whole numbers have exact means, so ties are ties; -1 stands for what is gone already.
numbers = st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.0, 8.0])


@st.composite
def tensors(draw: st.DrawFn, element: st.SearchStrategy[float] = numbers) -> Tensor:
    shape = draw(st.lists(st.integers(1, 5), min_size=3, max_size=3))
    flat = draw(st.lists(element, min_size=math.prod(shape), max_size=math.prod(shape)))
    return torch.tensor(flat).reshape(shape)


problems = st.lists(st.tuples(tensors(), st.sampled_from(SPANS)), min_size=1, max_size=3)


def in_groups(x: Tensor, dims: tuple[int, ...]) -> np.ndarray:
    """(groups, members), the groups in flat order."""
    others = [d for d in range(x.ndim) if d not in dims]
    return x.permute(*others, *dims).reshape(math.prod(x.shape[d] for d in others), -1).numpy()


@quick
@given(problem=problems, fraction=st.floats(0, 1))
def test_the_lowest_groups_go_whole_and_nearest_to_the_count(
    problem: list[tuple[Tensor, tuple[int, ...]]], fraction: float
) -> None:
    scores, dims = [s for s, _ in problem], [d for _, d in problem]
    zeros = round(fraction * sum(s.numel() for s in scores))
    masks = group_masks(scores, dims, zeros)
    assert [m.shape for m in masks] == [s.shape for s in scores]
    kept = [in_groups(m, d) for m, d in zip(masks, dims, strict=True)]
    assert all(bool((group == group[:, :1]).all()) for group in kept)
    groups = [members for s, d in problem for members in in_groups(s, d)]
    order = np.argsort([members.mean() for members in groups], kind="stable")
    ends = np.concatenate([[0], np.cumsum([len(groups[i]) for i in order])])
    count = int(np.abs(ends - zeros).argmin())  # numpy takes the first of two as near
    expected = np.ones(len(groups), dtype=bool)
    expected[order[:count]] = False
    assert np.array_equal(np.concatenate([k[:, 0] for k in kept]), expected)


@quick
@given(scores=st.lists(tensors(st.floats(0, 4, width=16)), min_size=1, max_size=3), fraction=st.floats(0, 1))
def test_groups_of_one_weight_are_single_weights(scores: list[Tensor], fraction: float) -> None:
    zeros = round(fraction * sum(s.numel() for s in scores))
    for ours, theirs in zip(
        group_masks(scores, [()] * len(scores), zeros), global_masks(scores, zeros), strict=True
    ):
        assert torch.equal(ours, theirs)


@quick
@given(
    scores=tensors(st.sampled_from([-1.0, -1.0, 0.0, 1.0, 4.0])),
    dims=st.sampled_from(SPANS),
    fraction=st.floats(0, 1),
)
def test_what_is_gone_goes_first_and_stays_gone_in_groups_that_stay(
    scores: Tensor, dims: tuple[int, ...], fraction: float
) -> None:
    mask = group_masks([scores], [dims], round(fraction * scores.numel()))[0]
    rows, kept = in_groups(scores, dims), in_groups(mask, dims)
    gone = (rows < 0).all(1)
    for members, stay, is_gone in zip(rows, kept, gone, strict=True):
        whole = stay.all() if is_gone else (stay == (members >= 0)).all()
        assert whole or not stay.any()
    if any(stay.all() and is_gone for stay, is_gone in zip(kept, gone, strict=True)):
        assert all(stay.any() for stay, is_gone in zip(kept, gone, strict=True) if not is_gone)


@quick
@given(
    scores=tensors(),
    dim=st.integers(0, 2),
    pattern=st.tuples(st.integers(1, 7), st.integers(2, 8)).filter(lambda p: p[0] < p[1]),
)
def test_n_of_every_m_neighbours_stay(scores: Tensor, dim: int, pattern: tuple[int, int]) -> None:
    n, m = pattern
    mask = n_of_m_mask(scores, n, m, dim)
    assert mask.shape == scores.shape
    for score, kept in zip(scores.split(m, dim), mask.split(m, dim), strict=True):
        size = score.shape[dim]
        assert bool((kept.sum(dim) == min(n, size)).all())
        for row, stay in zip(in_groups(score, (dim,)), in_groups(kept, (dim,)), strict=True):
            one = keep_mask(torch.tensor(row), size - min(n, size))
            assert np.array_equal(stay, one.numpy())


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 4), (5, 4), (-1, 2)])
def test_a_pattern_that_keeps_none_or_all_is_refused(n: int, m: int) -> None:
    with pytest.raises(RecipeError, match=f"{n} of every {m} weights cannot be kept; take N from 1 to M - 1"):
        n_of_m_mask(torch.ones(4, 4), n, m, 1)


def test_nan_and_counts_out_of_range_are_refused() -> None:
    bad = torch.tensor([[1.0, math.nan]])
    with pytest.raises(ModelError, match=r"scores\[0\]: 1 of 2 numbers are NaN or inf"):
        group_masks([bad], [(1,)], 0)
    with pytest.raises(ModelError, match="1 of 2 numbers are NaN or inf"):
        n_of_m_mask(bad, 1, 2, 1)
    with pytest.raises(RecipeError, match="Cannot prune 3 of 2 weights"):
        group_masks([torch.ones(1, 2)], [(1,)], 3)
