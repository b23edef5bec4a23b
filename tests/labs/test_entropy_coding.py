from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pithnet.labs.deep_compression.entropy_coding import code_rows, layer_codes, position_bytes, total_row


def model() -> nn.Linear:
    """64 weights: 32 zeros, 16 of -1, 8 of 0.5, 4 of 2 and 4 of 3."""
    layer = nn.Linear(8, 8)
    values = [0.0] * 32 + [-1.0] * 16 + [0.5] * 8 + [2.0] * 4 + [3.0] * 4
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(values).reshape(8, 8).t())
    return layer


def test_code_lengths_meet_the_entropy_of_a_dyadic_histogram() -> None:
    (code,) = layer_codes(nn.Sequential(model()))
    row = code.row(bits=2)
    assert (row["weights"], row["nonzeros"], row["levels"]) == (64, 32, 4)
    assert row["huffman_bits"] == row["entropy_bits"] == 1.75
    assert row["dense_huffman_bits"] == row["dense_entropy_bits"] == 1.875
    assert (row["fixed_bits"], row["dense_fixed_bits"]) == (2, 3)
    assert row["positions_entropy_bytes"] == 8.0
    assert row["positions"][row["positions_chosen"]] == min(
        size for name, size in row["positions"].items() if name != "relative index, fixed width"
    )


def test_canonical_codes_are_prefix_free() -> None:
    rows = code_rows(layer_codes(nn.Sequential(model()))[0])
    assert [(r["value"], r["count"], r["length"], r["code"]) for r in rows] == [
        (-1.0, 16, 1, "0"),
        (0.5, 8, 2, "10"),
        (2.0, 4, 3, "110"),
        (3.0, 4, 3, "111"),
    ]


def test_positions_are_measured_by_every_coder_that_takes_the_mask() -> None:
    mask = np.zeros((16, 4, 3, 3), bool)
    mask[::2, :, 1, 1] = True
    sizes = position_bytes(mask)
    assert {"relative index, fixed width", "bitmap", "gaps", "kernels"} == set(sizes)
    assert sizes["bitmap"] == 72
    # 32 non-zeros, 8 zeros apart but for 44 at seven filter borders: 4 bits, 15 at most, two fillers each.
    assert sizes["relative index, fixed width"] == (32 + 7 * 2) * 4 // 8
    assert set(position_bytes(np.zeros((4, 4), bool))) > {"constant"}


def test_the_total_weighs_by_the_symbols_each_mean_is_over() -> None:
    layers = [
        {
            "nonzeros": n,
            "weights": w,
            **dict.fromkeys(("fixed_bits", "huffman_bits", "entropy_bits"), bits),
            **{f"dense_{k}": bits for k in ("fixed_bits", "huffman_bits", "entropy_bits")},
            "positions": positions,
            "positions_entropy_bytes": 1.5,
            "positions_chosen": "gaps",
        }
        for n, w, bits, positions in ((10, 100, 2.0, {"gaps": 5, "kernels": 7}), (30, 100, 4.0, {"gaps": 6}))
    ]
    total = total_row(layers)
    assert total["huffman_bits"] == pytest.approx(3.5)
    assert total["dense_huffman_bits"] == pytest.approx(3.0)
    assert total["positions"] == {"gaps": 11}
    assert total["positions_entropy_bytes"] == 3.0
    assert total["positions_chosen_bytes"] == 11
