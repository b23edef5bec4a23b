"""What the report draws beyond results.json.

That is how each layer's weights are spread, and where its zeros are.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from pithnet.artifact import plain_state
from pithnet.surgery import weighted_layers

BINS = 48
MOST_LEVELS = 64  # above it a layer is drawn as a histogram
MOST_CELLS = 96  # of a picture's side
_CHUNK = 1 << 20


def measurements(before: nn.Module, final: nn.Module) -> dict[str, Any]:
    """Measures each weight tensor of `final` (two dimensions or more, tied ones once) against `before`.

    Args:
        before: The float model.
        final: The finalized model.

    Returns:
        What measurements.json holds, as plain data; `pithnet.results.measured.Measurements` describes its
        keys. Counts are of BINS bins, levels are given up to MOST_LEVELS of them, and a grid has at most
        MOST_CELLS a side.
    """
    start, seen = plain_state(before), set()
    layers = []
    for name, value in plain_state(final).items():
        key = (value.data_ptr(), value.shape)
        if value.ndim > 1 and value.is_floating_point() and value.numel() and key not in seen:
            seen.add(key)
            old = start.get(name)
            layers.append(_layer(name, value, old if old is not None and old.shape == value.shape else None))
    return {"layers": layers}


@torch.no_grad()
def sparsity(model: nn.Module) -> float:
    """Returns the share of exact zeros, in [0, 1], among the weights that all layers compute with.

    It is 0 for a model without such layers.
    """
    weights = [layer.weight for _, layer in weighted_layers(model)]
    size = sum(w.numel() for w in weights)
    return 1 - sum(int(w.count_nonzero()) for w in weights) / size if size else 0.0


def _layer(name: str, after: Tensor, before: Tensor | None) -> dict[str, Any]:
    both = [after] if before is None else [after, before]
    low, high = min(float(v.min()) for v in both), max(float(v.max()) for v in both)
    return {
        "name": name,
        "shape": list(after.shape),
        "low": low,
        "high": high,
        "before": None if before is None else _counts(before, low, high),
        "after": _counts(after[after != 0], low, high),
        "levels": _levels(after),
        **_zeros(after),
    }


def _counts(values: Tensor, low: float, high: float) -> list[int]:
    """How many values lie in each of BINS equal bins; integers, because float32 counts stop at 2**24."""
    total = torch.zeros(BINS, dtype=torch.int64)
    scale = BINS / (high - low) if high > low else 0.0
    for chunk in values.flatten().split(_CHUNK):
        bins = ((chunk.double() - low) * scale).long().clamp_(0, BINS - 1)
        total += bins.bincount(minlength=BINS).cpu()
    return [int(n) for n in total]


def _levels(values: Tensor) -> list[tuple[float, int]] | None:
    found: dict[float, int] = {}
    for part in values.flatten().split(_CHUNK):
        for value, count in zip(*(t.tolist() for t in part.unique(return_counts=True)), strict=True):
            found[value] = found.get(value, 0) + count
        if len(found) > MOST_LEVELS + 1:
            return None
    found.pop(0.0, None)
    return sorted(found.items()) if len(found) <= MOST_LEVELS else None


def _zeros(values: Tensor) -> dict[str, Any]:
    """The grid of kernels, rows the first dimension, columns the second, and what of it is empty."""
    kept = (values != 0).reshape(values.shape[0], values.shape[1], -1)
    some = kept.any(2)
    shares = kept.float().mean(2)
    if max(shares.shape) > MOST_CELLS:
        rows, columns = (min(side, MOST_CELLS) for side in shares.shape)
        shares = adaptive_avg_pool2d(shares[None], (rows, columns))[0]
    # Rounded up: 0 says that nothing is left.
    cells = (255 * shares).ceil().clamp(0, 255).to(torch.uint8).cpu().numpy().tobytes()
    empty = {"rows": int((~some.any(1)).sum()), "columns": int((~some.any(0)).sum())}
    return {
        "grid": {
            "rows": shares.shape[0],
            "columns": shares.shape[1],
            "shares": base64.b64encode(zlib.compress(cells, 9)).decode(),
        },
        "empty": {"kernels": int((~some).sum()), **empty},
    }
