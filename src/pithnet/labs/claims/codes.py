"""Statements on entropy coding, settled by counting bits of one trained network's weights."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

import pithnet.artifact as artifact
from pithnet.coding.entropy import average_length, entropy_bits
from pithnet.coding.prefix import code_lengths
from pithnet.labs.claims.verdicts import FALSE, TRUE, Found
from pithnet.passes import prune, share
from pithnet.surgery import finalize, weighted_layers

_SHARES = (0.0, 0.25, 0.5, 0.7, 0.8, 0.9)
_BITS = 4


def huffman_without_quantization(model: nn.Module) -> Found:
    """Statement 3: a Huffman code over the float32 values left after pruning 80 %, its code book counted."""
    pruned = _pruned(model, 0.8)
    weights = torch.cat([layer.weight.detach().flatten() for _, layer in weighted_layers(pruned)])
    kept = weights[weights != 0]
    counts = kept.unique(return_counts=True)[1].numpy()
    # Every value needs its 32 bits in the code book, so a book of values seen once is the data itself.
    bits = average_length(counts, code_lengths(counts)) if len(counts) <= 1 << 16 else entropy_bits(counts)
    book = 32 * len(counts)
    coded = bits * len(kept) + book
    bytes_ = np.frombuffer(kept.numpy().tobytes(), np.uint8).reshape(-1, 4)
    by_byte = [
        average_length(c := np.bincount(bytes_[:, i], minlength=256), code_lengths(c)) for i in range(4)
    ]
    quantized = _shared_bits(pruned)
    numbers = {
        "weights": len(weights),
        "kept": len(kept),
        "distinct": len(counts),
        "bits_of_a_code": bits,
        "bits_with_the_book": coded / len(kept),
        "bits_of_each_byte": by_byte[::-1],
        "bits_by_bytes": sum(by_byte),
        "bits_after_sharing": quantized,
    }
    return Found(FALSE if coded >= 32 * len(kept) else TRUE, numbers)


def _pruned(model: nn.Module, share_of_zeros: float) -> nn.Module:
    pruned = copy.deepcopy(model)
    prune(pruned, share_of_zeros)
    return pruned


def _shared_bits(pruned: nn.Module) -> float:
    """Huffman bits per kept weight after sharing 16 values a layer, with the code books."""
    shared = copy.deepcopy(pruned)
    share(shared, bits=_BITS)
    bits, kept = 0.0, 0
    for _, layer in weighted_layers(shared):
        counts = _counts(layer.weight.detach(), zeros=False)
        bits += average_length(counts, code_lengths(counts)) * counts.sum() + 32 * len(counts)
        kept += int(counts.sum())
    return bits / kept


def _counts(weight: Tensor, zeros: bool) -> np.ndarray:
    values = weight.flatten() if zeros else weight[weight != 0]
    return values.unique(return_counts=True)[1].numpy()


def look_up_table(model: nn.Module) -> Found:
    """Statement 11: the size of a table of products, and Huffman's bits with zero as a symbol."""
    rows = []
    for zeros in _SHARES:
        shared = _pruned(model, zeros)
        share(shared, bits=_BITS)
        total = bits = entries = 0.0
        for _, layer in weighted_layers(shared):
            counts = _counts(layer.weight.detach(), zeros=True)
            total += counts.sum()
            bits += average_length(counts, code_lengths(counts)) * counts.sum()
            entries += len(_counts(layer.weight.detach(), zeros=False)) * 256
        rows.append({"zeros": zeros, "table_entries": int(entries), "bits": bits / total})
    unchanged = max(r["table_entries"] for r in rows) == min(r["table_entries"] for r in rows)
    shorter = rows[-1]["bits"] < rows[0]["bits"]
    return Found(FALSE if unchanged and shorter else TRUE, {"rows": rows, "bits": _BITS})


def equal_symbols() -> Found:
    """Statement 13: Huffman's average length on N equally likely symbols, beside log2 N."""
    rows = []
    for n in (2, 3, 5, 10, 50, 100, 500, 1000, 5000, 20000):
        counts = np.ones(n, np.int64)
        rows.append(
            {"symbols": n, "length": average_length(counts, code_lengths(counts)), "log2": float(np.log2(n))}
        )
    close = all(r["log2"] - 1e-9 <= r["length"] < r["log2"] + 1 for r in rows)
    return Found(TRUE if close else FALSE, {"rows": rows})


def bits_of_k_means(model: nn.Module) -> Found:
    """Statement 14: bits of N weights in 2^k shared values: indices, code books, entropy-coded, stored."""
    rows = []
    for bits in (2, 3, 4, 5, 6):
        shared = copy.deepcopy(model)
        share(shared, bits=bits)
        weights = sum(layer.weight.numel() for _, layer in weighted_layers(shared))
        books = sum(len(_counts(layer.weight.detach(), True)) for _, layer in weighted_layers(shared))
        huffman = sum(
            average_length(c := _counts(layer.weight.detach(), True), code_lengths(c)) * c.sum()
            for _, layer in weighted_layers(shared)
        )
        inspection = artifact.inspect(artifact.encode(finalize(shared)))
        stored = sum(sum(t.bytes.values()) for t in inspection.tensors if len(t.shape) > 1)
        rows.append(
            {
                "bits": bits,
                "indices": weights * bits,
                "with_books": weights * bits + 32 * books,
                "huffman": float(huffman),
                "in_the_file": 8 * stored,
            }
        )
    differs = all(r["huffman"] < r["indices"] < r["with_books"] for r in rows)
    return Found(FALSE if differs else TRUE, {"weights": weights, "rows": rows})
