"""Run folders made up for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
        "norm": 60,
        "other": 8,
        "checksums": 12,
    },
    "tensors": [
        {
            "name": "conv1.weight",
            "shape": [4, 3, 3, 3],
            "coding": "kernels+palette/rans",
            "zeros": 81,
            "levels": 6,
            "bits": 8.0,
            "bytes": {"positions": 60, "symbols": 40, "codebook": 8, "other": 0},
        },
        {
            "name": "linear.bias",
            "shape": [10],
            "coding": "raw16",
            "zeros": 0,
            "levels": 9,
            "bits": 17.6,
            "bytes": {"positions": 0, "symbols": 20, "codebook": 0, "other": 2},
        },
    ],
    "seconds": 691.02,
    "epochs": 3,
    "seed": 7,
    "dataset": "cifar10",
    "measured_on": "test images",
    "hardware": {"processor": "A <fast> one", "cores": 2},
    "command": "pithnet compress --model resnet20",
}


def _epoch(number: int, step: str, epoch: int, loss: float, seconds: float) -> dict[str, Any]:
    event = {"event": "epoch", "number": number, "step": step, "epoch": epoch, "loss": loss, "lr": 0.01}
    return {**event, "accuracy": 1 - loss / 10, "seconds": seconds, "images": 500}


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


def write_run(
    folder: Path, results: Any = None, events: list[dict[str, Any]] | None = None, recipe: str = ""
) -> Path:
    """A run folder with these contents; RESULTS where `results` is None, no log where `events` is None."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text("{}")
    (folder / "results.json").write_text(json.dumps(RESULTS if results is None else results))
    if events is not None:
        (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    if recipe:
        (folder / "recipe.yaml").write_text(recipe)
    return folder
