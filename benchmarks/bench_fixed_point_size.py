"""Bytes of ResNet-20 with 4-bit weights: the .pith file beside bit packing and beside the codes' entropy.

    python benchmarks/bench_fixed_point_size.py [CHECKPOINT] [--bits 4] [--json]

Bit packing spends `bits` on every weight, a float32 scale and offset per row, and float16 on the two numbers
a channel that a folded BatchNorm leaves; it has no header. The entropy is that of each layer's codes alone
(order 0), with the same float16 numbers. `source` is the quantizer with dynamic scaling per tensor.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pithnet import artifact, zoo
from pithnet.coding import entropy_bits
from pithnet.passes import quantize
from pithnet.run.hardware import hardware
from pithnet.surgery import fake_quantizer, finalize, unquantized_weight, weighted_layers

CHECKPOINT = Path(__file__).parents[1] / "records" / "resnet20-own.pt"
WAYS: dict[str, dict[str, Any]] = {
    "source": {"quantizer": "dynamic", "granularity": "tensor"},
    "linear, channel": {"quantizer": "linear"},
    "lsq, channel": {"quantizer": "lsq", "fit": "mse"},
    "apot, channel": {"quantizer": "apot"},
    "linear, groups of 64": {"quantizer": "linear", "granularity": "group"},
}


def order_0_bytes(model: nn.Module) -> float:
    """Returns the bytes that the codes of all layers take at the entropy of their layer, zeros among them."""
    bits = 0.0
    for _, layer in weighted_layers(model):
        part, size = fake_quantizer(layer), layer.weight.numel()
        assert part is not None
        counts = part.used_codes(unquantized_weight(layer)).unique(return_counts=True)[1].tolist()
        bits += size * entropy_bits(np.array([size - sum(counts), *counts]))
    return bits / 8


def measure(start: nn.Module, bits: int, options: dict[str, Any]) -> dict[str, float]:
    model = copy.deepcopy(start)
    quantize(model, bits, **options)
    weights = rows = 0
    for _, layer in weighted_layers(model):
        part = fake_quantizer(layer)
        assert part is not None
        weights += layer.weight.numel()
        rows += len(part.rows(unquantized_weight(layer).detach()))
    final = finalize(model)
    floats = 2 * sum(p.numel() for p in final.parameters() if p.ndim < 2)
    row = {"file": len(artifact.encode(final)), "packed": weights * bits / 8 + 8 * rows + floats}
    row["entropy"] = order_0_bytes(model) + floats
    row["to_packed"] = row["file"] / row["packed"]
    row["over_entropy_less_600"] = (row["file"] - 600 - floats) / (row["entropy"] - floats)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", type=Path, default=CHECKPOINT)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    start = zoo.load("resnet20", weights=options.checkpoint).eval()
    rows = {name: measure(start, options.bits, way) for name, way in WAYS.items()}
    if options.json:
        print(
            json.dumps(
                {"checkpoint": options.checkpoint.name, "bits": options.bits, "rows": rows, **hardware()}
            )
        )
        return
    print(f"{'':21} {'.pith':>9} {'packed':>9} {'entropy':>9}  of packed  codes, less 600 bytes, of entropy")
    for name, row in rows.items():
        sizes = f"{row['file']:9,.0f} {row['packed']:9,.0f} {row['entropy']:9,.0f}"
        print(f"{name:21} {sizes} {row['to_packed']:10.3f} {row['over_entropy_less_600']:10.3f}")


if __name__ == "__main__":
    main()
