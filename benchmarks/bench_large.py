"""Prune, share, save, load of a transformer of 108 million weights, and the same through `pn.compress`.

    python benchmarks/bench_large.py [--runs 5] [--layers 12] [--vocabulary 30000] [--json]

Nothing is trained. Every run is a process of its own: one for the passes, the file and loading it, one for
`pn.compress` with the same recipe and without data. It prints the medians of the runs, by clock and by
processor, and the highest memory of a run. `compress` should take at most 1.2 times prune + share + save.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.run.hardware import hardware

WIDTH, HEADS, SPARSITY, BITS = 768, 12, 0.8, 4
RECIPE = {"steps": [{"prune": {"sparsity": SPARSITY}}, {"share": {"bits": BITS}}]}
STEPS = ("prune", "share", "save", "load", "compress")


class Transformer(nn.Module):
    """Tokens int64 (B, L) -> features (B, L, WIDTH); weights normal with a deviation of 0.02."""

    def __init__(self, vocabulary: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True)
            for _ in range(layers)
        )
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return x


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    cpu, start = time.process_time(), time.perf_counter()
    result = work()
    return result, {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}


def passes(model: nn.Module, again: nn.Module, path: Path) -> dict[str, Any]:
    _, prune = timed(lambda: pn.prune(model, SPARSITY))
    _, share = timed(lambda: pn.share(model, BITS))
    _, save = timed(lambda: pn.save(pn.finalize(model), path))
    _, load = timed(lambda: pn.load(path, model=again))
    return {"prune": prune, "share": share, "save": save, "load": load, "bytes": path.stat().st_size}


def one_run(what: str, vocabulary: int, layers: int) -> dict[str, Any]:
    torch.manual_seed(0)
    model = Transformer(vocabulary, layers).eval()
    row: dict[str, Any] = {"weights": sum(p.numel() for p in model.parameters())}
    if what == "passes":
        with tempfile.TemporaryDirectory() as folder:
            row |= passes(model, Transformer(vocabulary, layers), Path(folder) / "model.pith")
    else:
        result, row["compress"] = timed(lambda: pn.compress(model, recipe=RECIPE))
        row["bytes"] = result.bytes
    return row | {"peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=30_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=("passes", "compress"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_run(options.one, options.vocabulary, options.layers)))
        return
    size = ["--vocabulary", str(options.vocabulary), "--layers", str(options.layers)]
    rows = []
    for _ in range(options.runs):
        for what in ("passes", "compress"):
            command = [sys.executable, __file__, "--one", what, *size]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout))
    report(rows, options.json)


def report(rows: list[dict[str, Any]], as_json: bool) -> None:
    median = {
        step: {k: statistics.median(r[step][k] for r in rows if step in r) for k in ("seconds", "cpu")}
        for step in STEPS
    }
    together = sum(median[step]["seconds"] for step in ("prune", "share", "save"))
    ratio = median["compress"]["seconds"] / together
    facts = {"weights": rows[0]["weights"], "bytes": rows[0]["bytes"], "runs": len(rows) // 2}
    facts |= {"peak": max(r["peak"] for r in rows), "prune_share_save": together, "compress_ratio": ratio}
    if as_json:
        print(json.dumps({**hardware(), **facts, "median": median}, indent=1))
        return
    machine = hardware()
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"
    print(f"{where}; {facts['runs']} runs")
    print(f"{facts['weights']:,} weights, {facts['bytes']:,} bytes, peak {facts['peak'] / 1e9:.2f} GB")
    for step, found in median.items():
        print(f"{step:9} {found['seconds']:8.2f} s {found['cpu']:8.2f} s of processor")
    print(f"prune + share + save {together:.2f} s; pn.compress takes {ratio:.2f} times that")


if __name__ == "__main__":
    main()
