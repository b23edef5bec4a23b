"""Run folders made up for the tests."""

from __future__ import annotations

import base64
import json
import math
import zlib
from pathlib import Path
from typing import Any


def _tensor(
    name: str, shape: list[int], coding: str, zeros: int, levels: int, spent: tuple[int, ...]
) -> dict[str, Any]:
    parts = dict(zip(("positions", "symbols", "codebook", "other"), spent, strict=True))
    bits = 8 * sum(spent) / math.prod(shape)
    return {
        "name": name,
        "shape": shape,
        "coding": coding,
        "zeros": zeros,
        "levels": levels,
        "bits": bits,
        "bytes": parts,
    }


RESULTS: dict[str, Any] = {
    "kind": "compress",
    "recipe": "deep-compression",
    "architecture": "resnet20",
    "bytes": 1000,
    "float_bytes": 20000,
    "ratio": 20.0,
    "formula_ratio": 43.21,
    "before": {"accuracy": 0.9175, "n": 10000, "loss": 0.31, "interval": [0.9119, 0.9227]},
    "after": {"accuracy": 0.9142, "n": 10000, "loss": 0.35, "interval": [0.9085, 0.9195]},
    "difference": {"points": -0.33, "low": -0.71, "high": 0.05},
    "rivals": {
        "float16 + zstd": {"bytes": 9000, "ratio": 2.22},
        "int8 + zstd": {"bytes": 4500, "ratio": 4.44},
    },
    "parts": {
        "header": 50,
        "positions": 500,
        "symbols": 300,
        "codebooks": 70,
        "norm": 61,
        "other": 7,
        "checksums": 12,
    },
    "tensors": [
        _tensor("conv1.weight", [4, 3, 3, 3], "kernels+palette/rans", 81, 6, (300, 200, 40, 5)),
        _tensor("bn1.weight", [4], "fixed-each/rans", 0, 4, (0, 60, 0, 1)),
        _tensor("linear.weight", [2, 2443], "palette/rans", 4000, 3, (200, 80, 20, 2)),
        _tensor("linear.bias", [2], "raw16", 0, 2, (0, 20, 10, 0)),
    ],
    "seconds": 691.02,
    "train_seconds": 25.0,
    "epochs": 3,
    "seed": 7,
    "dataset": "cifar10",
    "measured_on": "test images",
    "hardware": {"processor": "A <fast> one", "cores": 2},
    "command": "pithnet compress --model resnet20",
}


def _epoch(number: int, step: str, epoch: int, loss: float, seconds: float) -> dict[str, Any]:
    event = {"event": "epoch", "number": number, "step": step, "epoch": epoch, "loss": loss, "lr": 0.01}
    shares = {"accuracy": 1 - loss / 10, "sparsity": 0.8 / loss}
    return {**event, **shares, "seconds": seconds, "images": 500}


def _pass(number: int, what: str, levels: int | None) -> dict[str, Any]:
    layers = [{"name": "conv1", "size": 108, "zeros": 81, "levels": levels}]
    return {"event": "pass", "number": number, "what": what, "layers": layers}


EVENTS = [
    _epoch(0, "prune 0.8", 1, 1.5, 10.0),
    _epoch(0, "prune 0.8", 2, 1.25, 10.0),
    _pass(0, "prune global 0.8", None),
    _epoch(1, "share 6 levels", 1, 1.0, 5.0),
    _pass(1, "freeze levels", 6),
]


# The kernels of conv1 (4, 3): the first output is gone, and half of each of the others.
CELLS = bytes([0, 0, 0, *[128] * 9])
MEASUREMENTS: dict[str, Any] = {
    "layers": [
        {
            "name": "conv1.weight",
            "shape": [4, 3, 3, 3],
            "low": -0.5,
            "high": 1.5,
            "before": [8, 60, 30, 10],
            "after": [3, 0, 20, 4],
            "levels": [[-0.25, 3], [0.625, 20], [1.5, 4]],
            "grid": {"rows": 4, "columns": 3, "shares": base64.b64encode(zlib.compress(CELLS)).decode()},
            "empty": {"kernels": 3, "rows": 1, "columns": 0},
        }
    ]
}
PLAN: dict[str, Any] = {"bytes": 1234, "layers": [{"name": "conv1", "bytes": 567}], "rest": 667}


def write_run(
    folder: Path,
    results: Any = None,
    events: list[dict[str, Any]] | None = None,
    recipe: str = "",
    measurements: Any = None,
    plan: Any = None,
) -> Path:
    """A run folder with these contents; RESULTS where `results` is None, no file for the others that are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text("{}")
    (folder / "results.json").write_text(json.dumps(RESULTS if results is None else results))
    if events is not None:
        (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    if recipe:
        (folder / "recipe.yaml").write_text(recipe)
    for name, content in (("measurements.json", measurements), ("plan.json", plan)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    return folder
