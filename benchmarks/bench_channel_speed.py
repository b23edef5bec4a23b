"""How much faster a network is in ONNX Runtime with channels really removed, in float32 and in int8.

    python benchmarks/bench_channel_speed.py [--pairs 5] [--seconds 3] [--batch 1] [--threads 1] [--json]

Weights and images are random, because time does not depend on them. ResNet-18 loses half the channels of each
layer that can lose any. MobileNetV2 keeps half its multiply-accumulates, the same share of every layer, with
widths that are any number (round_to 1) and with multiples of 8. Each cut network is timed in pairs with the
whole one: within a pair the two take turns, and the median of the pairs' ratios is given with all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.deploy import (
    Contender,
    OnnxSession,
    export_int8,
    export_onnx,
    has_int8_instructions,
    time_in_turn,
)
from pithnet.run.hardware import hardware

_IMAGES = 64  # that calibrate int8
_KINDS = ("float32", "int8")
_WANTED = 2.3


def halved(model: nn.Module, example: Tensor) -> pn.ShrinkPlan:
    """Plans half the channels of every layer that can lose any."""
    free = [row for row in pn.plan_shrink(model, example, rates={}, round_to=1).rows if row.whole is None]
    rates = {layer: 0.5 for row in free for layer in row.layers}
    return pn.plan_shrink(model, example, rates=rates, round_to=1)


def plans() -> dict[str, tuple[str, pn.ShrinkPlan]]:
    """Returns the cuts by name, each with the name of the whole network."""
    example = torch.zeros(1, 3, 32, 32)
    torch.manual_seed(0)
    resnet, mobile = pn.zoo.load("resnet18").eval(), pn.zoo.load("mobilenetv2").eval()
    found = {"resnet18, half the channels": ("resnet18", halved(resnet, example))}
    for multiple in (1, 8):
        plan = pn.plan_shrink(mobile, example, macs=0.5, scope="uniform", round_to=multiple)
        found[f"mobilenetv2, half the MACs, round_to={multiple}"] = ("mobilenetv2", plan)
    return found


def write(model: nn.Module, folder: Path, name: str) -> dict[str, Path]:
    """Writes a network in float32 and in int8; returns the files by kind."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_IMAGES, 3, 32, 32, generator=generator)
    files = {kind: folder / f"{name}-{kind}.onnx" for kind in _KINDS}
    export_onnx(model, (3, 32, 32), files["float32"])
    export_int8(model, images, files["int8"])
    return files


def ratios(whole: Path, cut: Path, options: argparse.Namespace) -> list[dict[str, float]]:
    """Times both files in turn, pair by pair: milliseconds of each, and how often faster the cut one is."""

    def contender(path: Path) -> Contender:
        return Contender(path.name, (3, 32, 32), lambda threads: OnnxSession(path, threads))

    pairs = []
    for _ in range(options.pairs):
        times = time_in_turn(
            [contender(whole), contender(cut)], options.batch, options.threads, options.seconds
        )
        before, after = (t.median for t in times)
        pairs.append({"whole_ms": before, "cut_ms": after, "faster": before / after})
    return pairs


def row(
    name: str, whole: str, plan: pn.ShrinkPlan, kind: str, pairs: list[dict[str, float]]
) -> dict[str, Any]:
    """Returns what is reported of one cut in one precision."""
    middle = {key: statistics.median(pair[key] for pair in pairs) for key in pairs[0]}
    return {
        "cut": name,
        "network": whole,
        "precision": kind,
        "macs": plan.macs,
        "full_macs": plan.full_macs,
        "parameters": plan.parameters,
        "full_parameters": plan.full_parameters,
        **middle,
        "pairs": pairs,
    }


def measure(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns a row for each cut and precision."""
    rows, wholes = [], dict[str, Mapping[str, Path]]()
    for name, (whole, plan) in plans().items():
        if whole not in wholes:
            wholes[whole] = write(plan.model, folder, whole)
        files = write(plan.cut(), folder, f"cut-{len(rows)}")
        for kind in _KINDS:
            pairs = ratios(wholes[whole][kind], files[kind], options)
            bytes_ = {"whole_bytes": wholes[whole][kind].stat().st_size, "bytes": files[kind].stat().st_size}
            rows.append(row(name, whole, plan, kind, pairs) | bytes_)
    return rows


def main() -> None:
    """Prints how often faster each cut network is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="The time that a pair takes, about.")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), options)
    facts = {key: getattr(options, key) for key in ("batch", "threads", "seconds")}
    facts |= {"runtime": "ONNX Runtime", "int8_instructions": has_int8_instructions(), "hardware": hardware()}
    if options.json:
        print(json.dumps({**facts, "rows": rows}, indent=1))
        return
    print(", ".join(f"{key} {value}" for key, value in facts["hardware"].items()))
    for r in rows:
        each = ", ".join(f"{pair['faster']:.2f}" for pair in r["pairs"])
        macs = f"{r['full_macs'] / r['macs']:.2f}x fewer MACs"
        times = f"{r['whole_ms']:.2f} -> {r['cut_ms']:.2f} ms"
        print(f"{r['cut']}, {r['precision']}: {macs}, {times}, {r['faster']:.2f}x faster ({each})")
    asked = [r for r in rows if r["network"] == "resnet18"]
    kept = all(r["faster"] >= _WANTED for r in asked)
    print(f"half the channels of ResNet-18 are at least {_WANTED}x faster in both: {'yes' if kept else 'no'}")


if __name__ == "__main__":
    main()
