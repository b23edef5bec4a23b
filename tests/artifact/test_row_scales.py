"""Rows of whole multiples are found from the numbers alone, whatever their length, in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from pithnet.artifact import decode, encode
from pithnet.artifact.row_scales import LIMIT, row_multiples


@pytest.mark.parametrize("length", [1, 2, 3, 16, 40])
@pytest.mark.parametrize("largest", [1, 7, 127, LIMIT])
def test_multiples_are_found_bit_for_bit_and_as_small_as_can_be(length: int, largest: int) -> None:
    rng = np.random.default_rng(length)
    whole = rng.integers(-largest, largest + 1, (50, length))
    whole[0] = 0
    rows = whole.astype(np.float32) * rng.random((50, 1), np.float32)
    found = row_multiples(rows)
    assert found is not None
    k, scales = found
    assert (k.dtype, scales.dtype) == (np.int16, np.float32)
    assert np.array_equal(k.astype(np.float32) * scales[:, None], rows)
    assert (np.abs(k).max(1) <= np.abs(whole).max(1)).all()
    assert scales[0] == 1
    if length == 1:
        assert np.array_equal(k, np.sign(whole))


def test_one_row_on_no_grid_is_enough_to_say_none() -> None:
    rows = np.arange(40, dtype=np.float32).reshape(5, 8)
    assert row_multiples(rows) is not None
    rows[3] = np.random.default_rng(0).random(8, np.float32)
    assert row_multiples(rows) is None
    rows[3] = np.inf
    assert row_multiples(rows) is None


def test_rows_of_one_value_take_memory_like_the_values() -> None:
    torch.manual_seed(0)
    model = nn.Embedding(20_000, 1)
    tracemalloc.start()
    try:
        data = encode(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12e6  # 84 MB, when each row had a place for every multiple
    assert torch.equal(decode(data)[0]["weight"], model.weight)
