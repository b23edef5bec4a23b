"""Time and memory of prune, share, encode and decode by the number of weights: both should grow linearly.

    python benchmarks/bench_scaling.py [--sizes 1e5 1e6 1e7 1e8] [--shapes layers single] [--json]

`layers`: linear layers of at most 1e7 weights; `single`: one. Random normal weights go through a global
magnitude pruning to 90 % zeros, 4-bit sharing, encode and decode, each in a process of its own that takes
over what the last one wrote. Memory is the peak of the resident set above what it was when the step began,
with its input loaded; `x float32` divides it by 4 bytes a weight. Other programs on the machine slow the
clock; `cpu s` and `ns/weight` they disturb less. `dense` encodes and decodes the weights as
they were before pruning, which no coding makes much smaller: the largest file there can be.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from memory import measured
from torch import nn

from pithnet import artifact
from pithnet.passes import prune, share
from pithnet.run.hardware import hardware
from pithnet.surgery import finalize

SHAPES = {"layers": 10**7, "single": 10**9}  # most weights in a layer
STEPS = ("prune", "share", "encode", "decode", "dense encode", "dense decode")


def network(weights: int, most: int) -> nn.Module:
    """Returns linear layers without biases, about equal in size, at most `most` each, `weights` in all."""
    layers = -(-weights // most)
    rows = 10 ** (int(math.log10(weights // layers)) // 2)
    linears = [
        nn.utils.skip_init(nn.Linear, weights // layers // rows, rows, bias=False) for _ in range(layers)
    ]
    return nn.Sequential(*linears)


def load(model: nn.Module, path: Path) -> None:
    model.load_state_dict(torch.load(path, weights_only=True, mmap=True))


def run_step(step: str, weights: int, most: int, folder: Path) -> dict[str, Any]:
    """Carries out one step, in this process, from the files of the step before; it leaves its own."""
    torch.manual_seed(0)
    model = network(weights, most)
    if step == "prune":
        for p in model.parameters():
            nn.init.normal_(p, std=0.02)
        torch.save(model.state_dict(), folder / "dense.pt")
        record, row = measured(lambda: prune(model, 0.9))
        assert sum(layer.zeros for layer in record.layers) == round(0.9 * weights)
        torch.save(artifact.plain_state(model), folder / "pruned.pt")
    elif step == "share":
        load(model, folder / "pruned.pt")
        _, row = measured(lambda: share(model, bits=4))
        torch.save(artifact.plain_state(finalize(model)), folder / "shared.pt")
    elif step.endswith("encode"):
        load(model, folder / ("dense.pt" if step.startswith("dense") else "shared.pt"))
        data, row = measured(lambda: artifact.encode(model))
        (folder / f"{step}d.pith").write_bytes(data)
        row["bytes"] = len(data)
    else:
        del model
        data = (folder / f"{step.replace('decode', 'encode')}d.pith").read_bytes()
        _, row = measured(lambda: artifact.decode(data))
    return row


def run_all(sizes: list[int], shapes: list[str], progress: Callable[[str], None]) -> list[dict[str, Any]]:
    rows = []
    for shape in shapes:
        for weights in sizes:
            with tempfile.TemporaryDirectory() as folder:
                for step in STEPS:
                    command = [sys.executable, __file__, "--step", step, "--folder", folder]
                    command += ["--sizes", str(weights), "--shapes", shape]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    row = {"shape": shape, "weights": weights, "step": step, **json.loads(done.stdout)}
                    rows.append(row)
                    progress(line(row))
    return rows


def line(row: dict[str, Any]) -> str:
    weights, cpu, peak = row["weights"], row["cpu_seconds"], row["peak"]
    size = f"{row['bytes']:13,}" if "bytes" in row else ""
    cost = f"{row['seconds']:8.2f} {cpu:8.2f} {1e9 * cpu / weights:9.1f}"
    memory = f"{peak / 1e6:9.1f} {peak / (4 * weights):9.2f}"
    return f"{row['shape']:7} {weights:11,} {row['step']:13} {cost} {memory} {size}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=float, default=[1e5, 1e6, 1e7, 1e8])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes]
    if options.step:
        print(json.dumps(run_step(options.step, sizes[0], SHAPES[options.shapes[0]], options.folder)))
        return
    out = sys.stderr if options.json else sys.stdout
    print(
        f"{'shape':7} {'weights':>11} {'step':13} {'seconds':>8} {'cpu s':>8} {'ns/weight':>9} "
        f"{'peak MB':>9} {'x float32':>9} {'file bytes':>13}",
        file=out,
    )
    rows = run_all(sizes, options.shapes, lambda text: print(text, file=out, flush=True))
    if options.json:
        print(json.dumps({"command": "python " + " ".join(sys.argv), **hardware(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
