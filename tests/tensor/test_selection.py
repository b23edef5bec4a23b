"""Radix selection finds what a sort of everything finds."""

from __future__ import annotations

import pytest
import torch

from pithnet.tensor import keep_mask
from pithnet.tensor.pruning._selection import BLOCK, kth_smallest

MIXES = {
    "both signs": [torch.randn(5000), torch.randn(300, 7) * 1e-3],
    "few values": [torch.randint(-3, 4, (4000,)).float(), torch.randint(-2, 2, (50, 60)).float()],
    "zeros of both signs": [torch.tensor([0.0, -0.0, 1.0, -1.0]), torch.tensor([-0.0, 0.0])],
    "tiny and huge": [torch.tensor([1e-45, -1e-45, 3e38, -3e38, 0.0]), torch.tensor([1e-40])],
    "float64": [torch.randn(3000, dtype=torch.float64), torch.tensor([1 + 2.0**-40, 1.0]).double()],
    "mixed": [
        torch.randn(700).half(),
        torch.randn(700).bfloat16(),
        torch.randn(700),
        torch.randn(9).double(),
    ],
    "an empty one": [torch.zeros(0), torch.randn(40)],
}


@pytest.mark.parametrize("name", MIXES)
def test_every_order_statistic_is_that_of_a_sort(name: str) -> None:
    tensors = MIXES[name]
    everything = torch.cat([t.flatten() for t in tensors]).double().sort().values
    ranks = torch.linspace(1, len(everything), min(len(everything), 60)).long().tolist()
    for k in ranks:
        value, below = kth_smallest(tensors, k)
        assert value.double() == everything[k - 1]
        assert below == int((everything < everything[k - 1]).sum())


def test_ties_beyond_a_block_are_pruned_first_come_first() -> None:
    scores = torch.ones(BLOCK + 10)
    scores[5] = 0.0
    mask = keep_mask(scores, BLOCK + 3)
    assert not mask[: BLOCK + 3].any()
    assert bool(mask[BLOCK + 3 :].all())


def test_a_value_counts_as_often_as_its_size_says() -> None:
    tensors, sizes = [MIXES["few values"][0], MIXES["both signs"][0]], [3, 2]
    repeated = [t.flatten().repeat(size) for t, size in zip(tensors, sizes, strict=True)]
    total = sum(len(t) for t in repeated)
    for k in (1, 2, total // 3, total - 1, total):
        value, below = kth_smallest(tensors, k, sizes)
        expected, expected_below = kth_smallest(repeated, k)
        assert (float(value), below) == (float(expected), expected_below)
