"""Training speed of ResNet-20, images per second: pithnet's loop beside the loops people write, taking turns.

    python benchmarks/bench_training.py [--images 1024] [--rounds 3] [--model resnet20] [--threads N] [--json]

All train on the same random 32 x 32 images by SGD with momentum, batches of 128.
- pithnet float32, pithnet bf16: Trainer and Batches (whole batches cropped and flipped, channels_last).
- per sample: contiguous float32, each image padded, cropped, flipped, normalised in Python by a DataLoader.
- tensors: contiguous float32, batches cut from one normalised tensor, nothing augmented.
`ratio` compares the faster precision of pithnet with each of the others.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pithnet import zoo
from pithnet.data import NORMALIZATIONS, ArrayData, Augmentation, Batches
from pithnet.learn import Trainer, Training
from pithnet.run.hardware import hardware

BATCH = 128
NORMALIZATION = NORMALIZATIONS["cifar10"]


def image_set(n: int) -> ArrayData:
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=g)
    return ArrayData(pixels, torch.randint(0, 10, (n,), generator=g))


def normalised(pixels: Tensor) -> Tensor:
    """Normalises uint8 (..., 3, H, W) to float32."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (NORMALIZATION.mean, NORMALIZATION.std))
    return (pixels.float() / 255 - mean) / std


class PerSample(Dataset[tuple[Tensor, Tensor]]):
    """A data set that does what a tutorial's transforms do, image by image."""

    def __init__(self, data: ArrayData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        assert self.data.labels is not None
        x = F.pad(self.data.images[i], (4, 4, 4, 4))
        top, left = random.randint(0, 8), random.randint(0, 8)
        x = x[:, top : top + 32, left : left + 32]
        if random.random() < 0.5:
            x = x.flip(2)
        return normalised(x), self.data.labels[i]


def ours(model: nn.Module, data: ArrayData, precision: str) -> Callable[[], None]:
    batches = Batches(data, BATCH, NORMALIZATION, augmentation=Augmentation(), shuffle=True)

    def epoch() -> None:
        list(Trainer(model, batches, Training(1, lr=0.01, precision=precision)).run())

    return epoch


def plain(model: nn.Module, batches: Callable[[], Any]) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def epoch() -> None:
        model.train()
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    return epoch


def contestants(name: str, data: ArrayData) -> dict[str, Callable[[], None]]:
    """Returns one epoch of each contestant, on its own copy of the network."""
    loader = DataLoader(PerSample(data), BATCH, shuffle=True, drop_last=True)
    x, y = normalised(data.images), data.labels
    assert y is not None

    def cut() -> Any:
        return ((x[i], y[i]) for i in torch.randperm(len(x)).split(BATCH) if len(i) == BATCH)

    return {
        "pithnet float32": ours(zoo.build(name), data, "float32"),
        "pithnet bf16": ours(zoo.build(name), data, "bf16"),
        "per sample": plain(zoo.build(name), lambda: loader),
        "tensors": plain(zoo.build(name), cut),
    }


def measure(epochs: dict[str, Callable[[], None]], images: int, rounds: int) -> dict[str, float]:
    """Returns images per second, the median of rounds in which each has a turn; the first does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            epoch()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: images / statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1024, help="images an epoch, rounded to batches of 128")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    images = max(options.images // BATCH, 1) * BATCH
    speed = measure(contestants(options.model, image_set(images)), images, options.rounds)
    best = max(("pithnet float32", "pithnet bf16"), key=speed.__getitem__)
    ratio = {name: speed[best] / speed[name] for name in ("per sample", "tensors")}
    if options.json:
        facts = {**vars(options), "images": images, **hardware()}
        print(json.dumps({**facts, "images_per_second": speed, "best": best, "ratio": ratio}))
        return
    print(f"{options.model}, {torch.get_num_threads()} threads")
    for name, value in speed.items():
        against = f"  {best} is {ratio[name]:.2f} times as fast" if name in ratio else ""
        print(f"{name:16} {value:8.0f} images/s{against}")


if __name__ == "__main__":
    main()
