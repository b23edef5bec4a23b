"""Rows of whole multiples are found from the numbers alone, whatever their length, in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from pithnet.artifact import decode, encode, row_scales
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


@pytest.mark.parametrize("long", [64, 576])
def test_rows_of_one_codebook_are_searched_once_not_each(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # 16 levels that pruning at 80 % leaves of uniform weights: whole multiples of one float16 step.
    levels = np.float16(0.0412) * np.linspace(0.83, 1, 8).astype(np.float16)
    levels = np.concatenate((levels, -levels)).astype(np.float32)
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((256, long)) < 0.2, rng.choice(levels, (256, long)), np.float32(0))
    divided, divide = [], row_scales._divide
    monkeypatch.setattr(
        row_scales,
        "_divide",
        lambda *given: (divided.append(given[0].shape[1] * len(given[1])), divide(*given))[1],
    )
    found = row_multiples(rows)
    assert found is not None
    assert np.array_equal(found[0].astype(np.float32) * found[1][:, None], rows)
    # Row by row, whole rows were divided hundreds of times over.
    assert sum(divided) <= rows.size
