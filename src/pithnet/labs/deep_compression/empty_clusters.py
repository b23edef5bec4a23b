"""How long Huffman codes are when k-means refills the clusters that lose all their members, and when not."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from pithnet.coding import average_length, entropy_bits
from pithnet.coding.prefix import code_lengths
from pithnet.labs.notebook import Row
from pithnet.surgery import weighted_layers
from pithnet.tensor import kmeans_1d

REFILLED, LEFT_EMPTY = "refill", "keep"


@torch.no_grad()
def empty_cluster_row(model: nn.Module, bits: int, empty: str) -> Row:
    """k-means of each layer's non-zero weights from a linear start; bits a non-zero weight over all layers.

    Args:
        empty: "refill" halves the cluster with the largest error for each empty one; "keep" leaves an empty
            one as it is, as in Lloyd's own iterations. As `pithnet.tensor.kmeans_1d`.

    Returns:
        levels: clusters with members, of `clusters` in all; huffman_bits, entropy_bits: means over the
        non-zero weights; inertia: the sum of squared distances.
    """
    code = ideal = inertia = 0.0
    weights = levels = clusters = 0
    for _, layer in weighted_layers(model):
        values = layer.weight[layer.weight != 0]
        if not len(values):
            continue
        found = kmeans_1d(values, 2**bits, "linear", empty=empty)
        counts = np.bincount(found.assignment.cpu().numpy().ravel(), minlength=len(found.centroids))
        code += average_length(counts, code_lengths(counts)) * len(values)
        ideal += entropy_bits(counts) * len(values)
        inertia, levels = inertia + found.inertia, levels + len(found.centroids)
        weights, clusters = weights + len(values), clusters + 2**bits
    return {
        "empty": empty,
        "nonzeros": weights,
        "clusters": clusters,
        "levels": levels,
        "fixed_bits": bits,
        "huffman_bits": code / max(weights, 1),
        "entropy_bits": ideal / max(weights, 1),
        "inertia": inertia,
    }
