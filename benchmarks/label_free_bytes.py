"""Bytes and accuracy of a CIFAR-10 network made small without labels and without training.

    python benchmarks/label_free_bytes.py CHECKPOINT --data-root DATA [--model resnet20] [--bits 5 4 3]
        [--ratios 13 17 20 24] [--images 1024] [--draws 1] [--normalize imagenet] [--json]

CHECKPOINT is a file that `zoo.load` reads, trained with the normalisation of `--normalize`; `--ratios` are
budgets, float32 bytes over the bytes of the file. Each draw takes other training images to calibrate with,
without labels and without augmentation, none of the thousand that are held out for `kl`: the divergence at
temperature 4 from the float network, in nats per image times 16. Bytes are those of the file that
`pn.save(pn.finalize(model))` writes, the accuracy is that of the file, on the 10,000 test images. With --json
it also says by how much quantizing made memory grow (`peak`), and the most that the process had then.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from memory import measured, status
from torch import Tensor, nn

import pithnet as pn
from pithnet import zoo
from pithnet.artifact import float32_bytes, plain_state
from pithnet.data import NORMALIZATIONS, ArrayData, Augmentation, Batches, load
from pithnet.run.hardware import hardware

TEMPERATURE, HELD_OUT = 4.0, 1_000
Way = tuple[str, Callable[[nn.Module, Tensor], Any]]


class Images:
    """Normalised images of CIFAR-10: to calibrate with, to choose by, to test on."""

    def __init__(self, root: Path, normalize: str = "imagenet") -> None:
        self._normalization = NORMALIZATIONS[normalize]
        train, self._test = load("cifar10", root, "train"), load("cifar10", root, "test")
        self._rest, held_out = train.split(HELD_OUT, seed=0)
        self.held_out = self._normalized(held_out)

    def calibration(self, count: int, draw: int) -> Tensor:
        """Returns training images (count, 3, 32, 32) without labels; other ones for every draw."""
        return self._normalized(self._rest.split(count, seed=draw + 1)[1])

    def unlabelled(self, count: int, draw: int) -> Batches:
        """Returns batches to train on: other images without labels for every draw, augmented and shuffled."""
        images = self._rest.split(count, seed=draw + 1)[1].images
        return Batches(
            ArrayData(images, None),
            128,
            self._normalization,
            augmentation=Augmentation(),
            shuffle=True,
            seed=draw,
        )

    def test(self) -> Batches:
        return Batches(self._test, 500, self._normalization)

    def _normalized(self, data: Any) -> Tensor:
        return torch.cat([batch[0] for batch in Batches(data, 500, self._normalization)])


@torch.no_grad()
def divergence(model: nn.Module, reference: nn.Module, images: Tensor) -> float:
    logits = [
        torch.cat([net(part) for part in images.split(250)]) / TEMPERATURE for net in (model, reference)
    ]
    found, expected = (x.log_softmax(1) for x in logits)
    return TEMPERATURE**2 * float(F.kl_div(found, expected, log_target=True, reduction="batchmean"))


def measure(start: nn.Module, way: Way, images: Images, count: int, draw: int) -> dict[str, Any]:
    name, compress = way
    model, calibration = copy.deepcopy(start), images.calibration(count, draw)
    _, cost = measured(lambda: compress(model, calibration))
    row: dict[str, Any] = {"way": name, "draw": draw, **cost, "resident_peak": status("VmHWM")}
    final = pn.finalize(model)
    with tempfile.TemporaryDirectory() as folder:
        path, blank = Path(folder) / "model.pith", copy.deepcopy(start)
        row["save_cpu_seconds"] = measured(lambda: pn.save(final, path))[1]["cpu_seconds"]
        row["bytes"] = path.stat().st_size
        stored, cost = measured(lambda: pn.load(path, blank))
        row["load_cpu_seconds"] = cost["cpu_seconds"]
    row["kl"] = divergence(stored, start, images.held_out)
    return {**row, "accuracy": pn.evaluate(stored, images.test()).accuracy}


def ways(options: argparse.Namespace) -> list[Way]:
    def by_bits(bits: int) -> Way:
        return f"{bits} bits", lambda model, images: pn.quantize_without_labels(model, bits, images)

    def by_ratio(ratio: float) -> Way:
        return f"{ratio:g} x", lambda model, images: pn.quantize_without_labels(
            model, bytes=1 / ratio, calibrate=images
        )

    return [*map(by_bits, options.bits), *map(by_ratio, options.ratios)]


def report(rows: list[dict[str, Any]], float_bytes: int, out: Any) -> None:
    print(f"{'':14} {'bytes':>9} {'ratio':>6} {'accuracy':>17} {'KL':>7} {'CPU s':>6}", file=out)
    for name in dict.fromkeys(row["way"] for row in rows):
        same = [row for row in rows if row["way"] == name]
        mean = {key: statistics.mean(row[key] for row in same) for key in ("bytes", "kl", "cpu_seconds")}
        scores = [100 * row["accuracy"] for row in same]
        spread = f"{statistics.mean(scores):6.2f} ({min(scores):.2f}-{max(scores):.2f})"
        sizes = f"{mean['bytes']:9,.0f} {float_bytes / mean['bytes']:6.2f}"
        print(f"{name:14} {sizes} {spread:>17} {mean['kl']:7.4f} {mean['cpu_seconds']:6.1f}", file=out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--bits", type=int, nargs="*", default=[5, 4, 3])
    parser.add_argument("--ratios", type=float, nargs="*", default=[13, 17, 20, 24])
    parser.add_argument("--images", type=int, default=1_024)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--normalize", choices=("imagenet", "cifar10"), default="imagenet")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    images = Images(options.data_root, options.normalize)
    start = zoo.load(options.model, weights=options.checkpoint).eval()
    float_bytes = float32_bytes(plain_state(start))
    before = pn.evaluate(start, images.test()).accuracy
    rows = []
    for way in ways(options):
        for draw in range(options.draws):
            rows.append(measure(start, way, images, options.images, draw))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if options.json:
        command = "python " + " ".join(sys.argv)
        facts = {"float_bytes": float_bytes, "float_accuracy": before, **hardware()}
        print(json.dumps({"command": command, **facts, "rows": rows}, indent=1))
        return
    print(f"float {float_bytes:,} bytes, {100 * before:.2f} %")
    report(rows, float_bytes, sys.stdout)


if __name__ == "__main__":
    main()
