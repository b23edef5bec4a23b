"""Peak memory of calibrating activations by the number of images: observers keep none of them.

    python benchmarks/bench_calibration.py [--images 1000 50000] [--observers mse ...] [--json]

ResNet-20 with random weights gets 8-bit weights and activations from random images, made a batch at a time,
in a process for each observer and number of images. Memory is the peak of the resident set above what it
was before; `growth` is that of the most images over that of the fewest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import torch
from memory import measured
from torch import Tensor

from pithnet import zoo
from pithnet.passes import quantize
from pithnet.run.hardware import hardware
from pithnet.tensor.observers import OBSERVERS

BATCH = 250


class RandomImages:
    """Random images of CIFAR-10's shape in batches, `count` of them; they are the same in every pass."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(0)
        for start in range(0, self.count, BATCH):
            yield torch.randn(min(BATCH, self.count - start), 3, 32, 32, generator=generator)


def calibrate(observer: str, images: int) -> dict[str, float]:
    torch.manual_seed(0)
    model = zoo.build("resnet20").eval()
    _, row = measured(
        lambda: quantize(
            model, 8, activations=8, observer=observer, calibrate=RandomImages(images), fit="range"
        )
    )
    return row


def run_all(observers: list[str], counts: list[int], out: Any) -> list[dict[str, Any]]:
    rows = []
    for observer in observers:
        least: float | None = None
        for images in counts:
            command = [sys.executable, __file__, "--one", observer, "--images", str(images)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = {"observer": observer, "images": images, **json.loads(done.stdout)}
            least = least or row["peak"]
            row["growth"] = row["peak"] / least
            rows.append(row)
            print(
                f"{observer:15} {images:8,} {row['seconds']:8.1f} {row['peak'] / 1e6:9.1f} "
                f"{row['growth']:7.2f}",
                file=out,
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", nargs="+", type=int, default=[1_000, 50_000])
    parser.add_argument("--observers", nargs="+", choices=sorted(OBSERVERS), default=sorted(OBSERVERS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=sorted(OBSERVERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(calibrate(options.one, options.images[0])))
        return
    out = sys.stderr if options.json else sys.stdout
    print(f"{'observer':15} {'images':>8} {'seconds':>8} {'peak MB':>9} {'growth':>7}", file=out)
    rows = run_all(options.observers, options.images, out)
    if options.json:
        print(json.dumps({"command": "python " + " ".join(sys.argv), **hardware(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
