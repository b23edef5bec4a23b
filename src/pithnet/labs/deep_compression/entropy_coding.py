"""Item 3: Huffman codes and positions of shared layers, against their entropy and fixed widths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pithnet.coding import (
    POSITION_CODERS,
    CodingError,
    average_length,
    decode_positions,
    encode_positions,
    entropy_bits,
)
from pithnet.coding.gaps import MAX_BITS, relative_gaps
from pithnet.coding.prefix import canonical_codes, code_lengths
from pithnet.labs.experiment import having
from pithnet.labs.notebook import Notebook, Row
from pithnet.surgery import weighted_layers
from pithnet.tensor import kmeans_1d

REFILLED, LEFT_EMPTY = "refill", "keep"


@dataclass(frozen=True, eq=False)
class LayerCode:
    """A shared layer: where it is not zero, its values ascending, and how often each occurs."""

    name: str
    mask: NDArray[np.bool_]
    values: NDArray[np.float32]
    counts: NDArray[np.int64]

    def row(self, bits: int) -> Row:
        """Returns bits a symbol over the non-zeros and, with zero as a symbol, over all; position bytes."""
        nonzeros, zeros = int(self.counts.sum()), int((~self.mask).sum())
        dense = np.append(self.counts, zeros)
        positions = position_bytes(self.mask)
        chosen = min((m for m in POSITION_CODERS if m in positions), key=lambda m: positions[m])
        share = np.array([nonzeros, zeros])
        return {
            "weights": self.mask.size,
            "nonzeros": nonzeros,
            "levels": len(self.values),
            "fixed_bits": bits,
            "huffman_bits": average_length(self.counts, code_lengths(self.counts)),
            "entropy_bits": entropy_bits(self.counts),
            "dense_fixed_bits": (2**bits).bit_length(),
            "dense_huffman_bits": average_length(dense, code_lengths(dense)),
            "dense_entropy_bits": entropy_bits(dense),
            "positions": positions,
            "positions_entropy_bytes": entropy_bits(share) * self.mask.size / 8,
            "positions_chosen": chosen,
        }


def layer_codes(model: nn.Module) -> list[LayerCode]:
    """Describes every layer of a model whose weights are shared."""
    found = []
    for name, layer in weighted_layers(model):
        weight = layer.weight.detach().cpu().numpy()
        values, counts = np.unique(weight[weight != 0], return_counts=True)
        found.append(LayerCode(name, weight != 0, values, counts.astype(np.int64)))
    return found


def position_bytes(mask: NDArray[np.bool_]) -> dict[str, int]:
    """Returns the bytes of a mask by each coder that takes it, decoded again, and by relative indices."""
    widths = range(1, MAX_BITS + 1)
    fixed = min(b * len(relative_gaps(mask, b)) for b in widths) if mask.any() else 0
    sizes = {"relative index, fixed width": -(-fixed // 8)}
    for method in POSITION_CODERS:
        try:
            _, data = encode_positions(mask, method)
        except CodingError:
            continue
        assert np.array_equal(decode_positions(method, data, mask.shape), mask)
        sizes[method] = len(data)
    return sizes


def total_row(rows: list[Row]) -> Row:
    """Returns all layers together: means weighted by the symbols they are over, sums of bytes."""
    nonzeros, weights = sum(r["nonzeros"] for r in rows), sum(r["weights"] for r in rows)
    total: Row = {"weights": weights, "nonzeros": nonzeros}
    for key in ("fixed_bits", "huffman_bits", "entropy_bits"):
        total[key] = sum(r[key] * r["nonzeros"] for r in rows) / max(nonzeros, 1)
        dense = f"dense_{key}"
        total[dense] = sum(r[dense] * r["weights"] for r in rows) / weights
    everywhere = [m for m in rows[0]["positions"] if all(m in r["positions"] for r in rows)]
    total["positions"] = {m: sum(r["positions"][m] for r in rows) for m in everywhere}
    total["positions_entropy_bytes"] = sum(r["positions_entropy_bytes"] for r in rows)
    total["positions_chosen_bytes"] = sum(r["positions"][r["positions_chosen"]] for r in rows)
    return total


def position_rows(book: Notebook) -> list[Row]:
    """Returns for every layer and all the bytes of its positions by each coder, the least, and the choice."""
    rows = having("3", "positions")(book)
    coders = dict.fromkeys(name for r in rows for name in r["positions"])
    return [
        {"layer": r["what"]}
        | {name: r["positions"].get(name) for name in coders}
        | {"entropy of the mask": r["positions_entropy_bytes"], "chosen": r.get("positions_chosen")}
        for r in rows
    ]


def code_rows(layer: LayerCode) -> list[dict[str, Any]]:
    """Returns the layer's canonical Huffman code: symbol (rank of the value), value, count, length, code."""
    lengths = code_lengths(layer.counts)
    codes = canonical_codes(lengths)
    return [
        {
            "symbol": i,
            "value": float(value),
            "count": int(count),
            "length": int(length),
            "code": f"{int(code):0{int(length)}b}" if length else "",
        }
        for i, (value, count, length, code) in enumerate(
            zip(layer.values, layer.counts, lengths, codes, strict=True)
        )
    ]


@torch.no_grad()
def empty_cluster_row(model: nn.Module, bits: int, empty: str) -> Row:
    """Clusters each layer's non-zero weights into 2^bits from a linear start, and codes the symbols.

    An empty cluster is treated by `empty`, "refill" or "keep", as in `pithnet.tensor.kmeans_1d`.
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
