"""Proximal operators by hand; the laws say that they minimise."""

from __future__ import annotations

import math

import pytest
import torch

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor.proximal import (
    elastic_net_prox,
    group_hard_threshold,
    group_soft_threshold,
    hard_threshold,
    l0_prox,
    mcp_prox,
    ridge_prox,
    scad_prox,
    soft_threshold,
    transformed_l1_prox,
    trimmed_soft_threshold,
)
from pithnet.tensor.pruning.largest import largest

X = torch.tensor([3.0, -1.0, 0.5, -0.2, 0.0])


def close(found: torch.Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected))


def test_thresholds_by_hand() -> None:
    close(soft_threshold(X, 0.5), [2.5, -0.5, 0.0, 0.0, 0.0])
    close(hard_threshold(X, 2), [3.0, -1.0, 0.0, 0.0, 0.0])
    close(trimmed_soft_threshold(X, 0.3, 2), [3.0, -1.0, 0.2, 0.0, 0.0])
    close(elastic_net_prox(X, 1.0, 0.5), [2.5 / 1.5, -0.5 / 1.5, 0.0, 0.0, 0.0])
    close(l0_prox(X, 0.125), [3.0, -1.0, 0.0, 0.0, 0.0])


def test_the_ridge_prox_has_a_factor_for_each_row() -> None:
    x = torch.tensor([[3.0, -1.0], [2.0, 4.0], [5.0, 0.0]])
    factors = torch.tensor([[0.0], [1.0], [4.0]])
    found = ridge_prox(x, factors)
    torch.testing.assert_close(found, torch.tensor([[3.0, -1.0], [1.0, 2.0], [1.0, 0.0]]))
    # At the minimum of 1/2 ||z - x||^2 + t/2 ||z||^2 the gradient is zero.
    torch.testing.assert_close(found - x + factors * found, torch.zeros(3, 2))
    with pytest.raises(RecipeError, match="t is -1"):
        ridge_prox(X, -torch.ones(1))


def test_folded_penalties_shrink_the_middle_and_leave_the_large() -> None:
    # Firm threshold with strength 0.5, gamma 2: zero to 0.5, (|x| - 0.5) / (1 - 1/2) to 1, identity beyond.
    close(mcp_prox(torch.tensor([0.4, 0.75, 1.0, 3.0]), 0.5, 2.0), [0.0, 0.5, 1.0, 3.0])
    # A step of gamma or more: kept above sqrt(step gamma) strength = 2, or gone.
    close(mcp_prox(torch.tensor([1.9, 2.1]), 1.0, 1.0, step=4.0), [0.0, 2.1])
    # SCAD of strength 1, a = 3: soft to 2, (2 |x| - 3) / 1 to 3, identity beyond.
    close(scad_prox(torch.tensor([0.9, 1.5, -2.5, 3.5]), 1.0, 3.0), [0.0, 0.5, -2.0, 3.5])


def test_transformed_l1_lies_between_counting_and_l1() -> None:
    x = torch.tensor([2.0, -0.9, 0.3], dtype=torch.float64)
    torch.testing.assert_close(transformed_l1_prox(x, 0.5, 1e6), soft_threshold(x, 0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(transformed_l1_prox(x, 0.3, 1e-6), l0_prox(x, 0.3), atol=1e-5, rtol=0)


def test_groups_are_shrunk_as_a_whole() -> None:
    x = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]])
    torch.testing.assert_close(
        group_soft_threshold(x, 1.0, 1), torch.tensor([[2.4, 3.2], [0.0, 0.0], [0.0, 0.0]])
    )
    torch.testing.assert_close(group_hard_threshold(x, 1, 1), torch.tensor([[3.0, 4.0], [0, 0], [0, 0]]))
    filters = torch.ones(4, 2, 3, 3)
    kept = group_hard_threshold(filters, 2, (1, 2, 3))
    assert kept.flatten(1).any(1).tolist() == [True, True, False, False], "the lower index wins"


@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), (2, 0), (1, 2)])
def test_the_largest_of_every_slice_match_a_stable_sort(dim: int | tuple[int, ...] | None) -> None:
    g = torch.Generator().manual_seed(3)
    x = torch.randint(-3, 4, (4, 3, 5), generator=g).float()
    axes = (
        (0, 1, 2) if dim is None else tuple(sorted(d % 3 for d in ((dim,) if isinstance(dim, int) else dim)))
    )
    batch = tuple(d for d in range(3) if d not in axes)
    n = math.prod(x.shape[d] for d in axes)
    slices = x.permute(*batch, *axes).reshape(-1, n)
    for k in range(n + 1):
        mask = largest(x, k, dim).permute(*batch, *axes).reshape(-1, n)
        for row, found in zip(slices, mask, strict=True):
            order = sorted(range(n), key=lambda i, row=row: (-abs(float(row[i])), i))
            assert sorted(found.nonzero().flatten().tolist()) == sorted(order[:k])


def test_a_scalar_and_a_strided_tensor_are_tensors_too() -> None:
    assert hard_threshold(torch.tensor(2.0), 1).item() == 2.0
    assert hard_threshold(torch.tensor(2.0), 0).item() == 0.0
    wide = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(hard_threshold(wide.T, 3), hard_threshold(wide, 3).T)


def test_bad_input_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"the threshold is -0.5: use a finite number >= 0"):
        soft_threshold(X, -0.5)
    with pytest.raises(RecipeError, match=r"the threshold is nan"):
        group_soft_threshold(X, math.nan, 0)
    with pytest.raises(
        RecipeError, match=r"k is 6, but there are 5 to choose from: use a whole number from 0 to 5"
    ):
        hard_threshold(X, 6)
    with pytest.raises(RecipeError, match=r"k is 3, but there are 2"):
        hard_threshold(torch.zeros(4, 2), 3, dim=1)
    with pytest.raises(RecipeError, match=r"gamma is 0.0: use a finite number > 0"):
        mcp_prox(X, 1.0, 0.0)
    with pytest.raises(ModelError, match=r"x: 1 of 2 numbers are NaN or inf"):
        soft_threshold(torch.tensor([1.0, math.inf]), 0.1)
    with pytest.raises(ModelError, match=r"x must be floating point, got torch.int64"):
        hard_threshold(torch.arange(3), 1)
