"""Time from a file on disk to a network ready to run: a .pith beside the float checkpoint, taking turns.

    python benchmarks/bench_load.py [FILE.pith] [--repeats 20] [--model resnet20] [--json]

Without FILE a fresh network of the zoo is pruned to 80 % zeros, shared to 6 levels and encoded: as many
numbers and as many bits as a trained one. The checkpoint is what torch.save writes of the float state_dict;
reading it is torch.load(weights_only=True) into a network of the zoo. `first` is the first call of the
process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pithnet import artifact, zoo
from pithnet.passes import prune, share
from pithnet.run.hardware import hardware
from pithnet.surgery import Storage, finalize


def compressed(name: str) -> bytes:
    torch.manual_seed(0)
    model = zoo.build(name)
    prune(model, 0.8)
    share(model, levels=6, rate_weight=0.02)
    return artifact.encode(finalize(model, Storage(norm="fixed8", other="fixed8")))


def from_checkpoint(name: str, path: Path) -> nn.Module:
    model = zoo.build(name)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def milliseconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def measure(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Returns milliseconds of each way: the first call, then median and minimum of `repeats` turns."""
    first = {name: milliseconds(way) for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(milliseconds(way))
    return {
        name: {"first": first[name], "median": statistics.median(t), "least": min(t)}
        for name, t in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pith, checkpoint = options.file or Path(folder) / "model.pith", Path(folder) / "model.pt"
        if options.file is None:
            pith.write_bytes(compressed(options.model))
        torch.save(zoo.build(options.model).state_dict(), checkpoint)
        ways = {
            "pith": lambda: artifact.load(pith),
            "torch.load": lambda: from_checkpoint(options.model, checkpoint),
        }
        sizes = {"pith": pith.stat().st_size, "torch.load": checkpoint.stat().st_size}
        rows = measure(ways, options.repeats)
    ratio = rows["pith"]["median"] / rows["torch.load"]["median"]
    if options.json:
        file = str(options.file) if options.file else None
        facts = {"file": file, "model": options.model, "repeats": options.repeats, **hardware()}
        print(json.dumps({**facts, "milliseconds": rows, "bytes": sizes, "ratio": ratio}))
        return
    print(f"{'':10} {'bytes':>10} {'first ms':>9} {'median ms':>9} {'least ms':>9}")
    for name, row in rows.items():
        print(f"{name:10} {sizes[name]:10,} {row['first']:9.1f} {row['median']:9.1f} {row['least']:9.1f}")
    print(f"a .pith takes {ratio:.2f} times as long to load as the checkpoint")


if __name__ == "__main__":
    main()
