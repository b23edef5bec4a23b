"""Bytes and accuracy of a CIFAR-10 network made small without labels, and taught by itself afterwards.

    python benchmarks/distilled_bytes.py CHECKPOINT --data-root DATA [--model resnet20] [--ratios 24 29]
        [--images 16384] [--epochs 6] [--draws 1] [--json]

It is the preset `post-training` with `--distill EPOCHS`, on so many training images without labels; each
draw takes others. Everything else is as in `label_free_bytes.py`: `kl` is on a thousand training images
that are among none of them, bytes and accuracy are those of the file.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from label_free_bytes import Images, divergence
from torch import nn

import pithnet as pn
from pithnet import zoo
from pithnet.recipe import load_recipe, with_distillation
from pithnet.run.hardware import hardware


def measure(start: nn.Module, images: Images, ratio: float, options: argparse.Namespace, draw: int) -> Any:
    train = images.unlabelled(options.images, draw)
    recipe = with_distillation(load_recipe("post-training"), options.epochs)
    clock, cpu = time.perf_counter(), time.process_time()
    result = pn.compress(
        copy.deepcopy(start), train, None, recipe, budget={"bytes": 1 / ratio}, seed=draw, rivals=False
    )
    row = {"way": f"{ratio:g} x", "draw": draw, "images": options.images, "epochs": options.epochs}
    row |= {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}
    row |= {"bytes": result.bytes, "kl": divergence(result.model, start, images.held_out)}
    return {**row, "accuracy": pn.evaluate(result.model, images.test()).accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--ratios", type=float, nargs="*", default=[24, 29])
    parser.add_argument("--images", type=int, default=16_384)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    images = Images(options.data_root)
    start = zoo.load(options.model, weights=options.checkpoint).eval()
    before = pn.evaluate(start, images.test()).accuracy
    rows = []
    for ratio in options.ratios:
        for draw in range(options.draws):
            rows.append(measure(start, images, ratio, options, draw))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if options.json:
        command = "python " + " ".join(sys.argv)
        print(
            json.dumps({"command": command, "float_accuracy": before, **hardware(), "rows": rows}, indent=1)
        )
        return
    print(f"float {100 * before:.2f} %")
    for row in rows:
        print("{way:8} {bytes:9,} bytes".format(**row), f"{100 * row['accuracy']:6.2f} %  KL {row['kl']:.4f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
