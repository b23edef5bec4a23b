"""How long a plan takes, and how near its bytes are to those of the files.

    python benchmarks/bench_plan.py [--files PATH=RECIPE:CHECKPOINT ...] [--runs 5] [--json]

Timed are plans of ResNet-18 and of a network with 108.1 million weights, both with random weights, on one
thread; given are the medians. Each of the committed records/resnet20-own-*.pith is compared with the plan of
its recipe, and so is every file that is named: FILE=RECIPE:ARCHITECTURE:CHECKPOINT.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn

import pithnet as pn
from pithnet.run.hardware import hardware

RECORDS = Path(__file__).parent.parent / "records"
OWN = RECORDS / "resnet20-own.pt"
COMMITTED = [
    f"{RECORDS}/resnet20-own-deep-compression.pith=deep-compression:resnet20:{OWN}",
    f"{RECORDS}/resnet20-own-smallest.pith=smallest:resnet20:{OWN}",
]


def large() -> nn.Module:
    """A network of linear layers with 108.1 million weights."""
    return nn.Sequential(*[nn.Linear(3000, 3000) for _ in range(12)], nn.Linear(3000, 33))


def seconds(model: nn.Module, recipe: str, example: torch.Tensor, runs: int) -> float:
    """The median wall time of so many plans, in seconds."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        pn.plan(model, recipe, example=example)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def compared(text: str) -> dict[str, object]:
    """A file's bytes, those of its plan, and how far the plan is off."""
    file, _, rest = text.partition("=")
    recipe, architecture, checkpoint = rest.split(":", 2)
    real = Path(file).stat().st_size
    planned = pn.plan(pn.zoo.load(architecture, weights=checkpoint), recipe).bytes
    return {"file": Path(file).name, "bytes": real, "planned": planned, "off": planned / real - 1}


def main() -> None:
    """Prints the times and the comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", nargs="*", default=[])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = {
        "resnet18": (pn.zoo.load("resnet18"), torch.zeros(1, 3, 32, 32)),
        "108.1 M weights": (large(), torch.zeros(1, 3000)),
    }
    times = {
        f"{name}, {recipe}": seconds(model, recipe, example, options.runs)
        for name, (model, example) in networks.items()
        for recipe in ("deep-compression", "smallest")
    }
    files = [compared(text) for text in (*COMMITTED, *options.files)]
    if options.json:
        print(json.dumps({"seconds": times, "files": files, **hardware()}))
        return
    for name, taken in times.items():
        print(f"plan of {name}: {taken:.2f} s")
    for row in files:
        print(f"{row['file']}: {row['bytes']:,} bytes, planned {row['planned']:,} ({row['off']:+.1%})")


if __name__ == "__main__":
    main()
