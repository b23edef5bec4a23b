"""Tied tensors: the bytes that they are compared by."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pithnet.surgery import conflicting_tie
from pithnet.surgery.weights.ties import raw_bytes


@pytest.mark.parametrize(
    "value",
    [
        torch.empty(0),
        torch.zeros(3, 0, 2),
        torch.zeros(0, 4)[:, 0],
        torch.zeros(1, 4)[:, 0],
        torch.ones(1).expand(1),
        torch.tensor(2.5),
        torch.arange(12.0).view(3, 4).T,
        torch.arange(12.0).view(3, 4)[:, 1],
        torch.ones(1).expand(5),
        torch.arange(4, dtype=torch.bfloat16)[1:],
    ],
)
def test_the_bytes_are_those_of_the_numbers_in_c_order(value: Tensor) -> None:
    found = raw_bytes(value)
    assert found.dtype == torch.uint8
    assert found.shape == (value.numel() * value.element_size(),)
    numbers = bytes(found.tolist())
    again = torch.tensor(value.tolist(), dtype=value.dtype).reshape(-1)
    assert numbers == bytes(again.view(torch.uint8).tolist())


def test_a_tie_of_one_odd_number_is_compared() -> None:
    model = nn.Module()
    model.a = nn.Parameter(torch.zeros(1, 4)[:, 0])
    model.b = model.a
    same = {"a": torch.ones(1, 3)[:, 0], "b": torch.ones(1)}
    assert conflicting_tie(model, same) is None
    assert conflicting_tie(model, same | {"b": torch.zeros(1)}) == ("a", "b")
