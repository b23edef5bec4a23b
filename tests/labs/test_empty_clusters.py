"""What becomes of clusters that lose their members: refilled, or left as Lloyd's iterations leave them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pithnet.labs.deep_compression.entropy_coding import empty_cluster_row


def network() -> nn.Linear:
    """Most weights in a narrow bulk, two far away: a linear start has empty cells between."""
    layer = nn.Linear(100, 10)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(0.01 * torch.randn(10, 100, generator=g))
        layer.weight[0, 0], layer.weight[0, 1] = -1.0, 1.0
        layer.weight[5:] = 0.0
    return layer


def test_refilled_clusters_are_all_in_use_and_cost_longer_codes() -> None:
    refilled, left = (empty_cluster_row(network(), 4, empty) for empty in ("refill", "keep"))
    assert refilled["levels"] == refilled["clusters"] == left["clusters"] == 16
    # Cells as wide as 2/15 around a bulk of 0.04: the middle two, and those of both outliers.
    assert left["levels"] == 4
    assert refilled["nonzeros"] == left["nonzeros"] == 500
    assert left["huffman_bits"] < 2 < refilled["huffman_bits"] <= refilled["fixed_bits"] == 4
    assert left["inertia"] > 2 * refilled["inertia"]
    for row in (refilled, left):
        assert row["entropy_bits"] <= row["huffman_bits"] < row["entropy_bits"] + 1


def test_where_no_cluster_is_empty_both_are_the_same() -> None:
    layer = nn.Linear(64, 16)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 1025)[:-1].reshape(16, 64) + 1e-3)
    refilled, left = (empty_cluster_row(layer, 3, empty) for empty in ("refill", "keep"))
    assert refilled.pop("empty") != left.pop("empty")
    assert refilled == left


@pytest.mark.parametrize("bits", [2, 5])
def test_a_network_without_weights_to_share_has_no_length(bits: int) -> None:
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.zero_()
    row = empty_cluster_row(layer, bits, "keep")
    assert (row["nonzeros"], row["huffman_bits"], row["levels"]) == (0, 0.0, 0)
