"""Bytes against accuracy without labels and without training: points of a curve, written as they come.

    python benchmarks/label_free_curve.py NETWORK CHECKPOINT --data-root DATA [--normalize imagenet]
        [--sizes 8 10 13 16 20 24 32 40] [--data-free] [--out records/label-free-curve]

NETWORK is one of the zoo. A size up to 1,000 says how many times smaller than float32 the file is to be, a
larger one how many bytes it may take. Every point is a file as `label_free_bytes.py` measures it, from the
same 1,024 unlabelled images (draw 0): bytes on disk, divergence on 1,000 other training images, accuracy on
the test images, seconds. `--data-free` measures 8 bits without any image. Points that the record has are not
measured again. After the last point, and without CHECKPOINT, the CSV file and the figure are written from
the record.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from label_free_bytes import Images, Way, measure

import pithnet as pn
from pithnet import zoo
from pithnet.artifact import float32_bytes, plain_state
from pithnet.atomic import write_atomic
from pithnet.report import write_csv
from pithnet.report.figures import save_png
from pithnet.report.plots import lines
from pithnet.run.hardware import hardware

NAMES = {"resnet20": "ResNet-20", "resnet44": "ResNet-44", "vgg16": "VGG-16", "resnet18": "ResNet-18"}
# On the public ResNet-20; bytes and accuracies as they were measured by the one who names them.
OTHERS = {
    "ResNet-20, NNCodec 2.1": [(118_946, 0.9173)],
    "ResNet-20, 5, 4 and 3 bits everywhere": [(148_077, 0.9171), (118_653, 0.9172), (90_340, 0.9143)],
}
COLUMNS = ("network", "way", "bytes", "ratio", "accuracy", "points", "kl", "seconds", "cpu_seconds")


def ways(options: argparse.Namespace) -> list[Way]:
    def of_size(size: float) -> Way:
        wanted = size if size > 1_000 else 1 / size
        name = f"{size:g} bytes" if size > 1_000 else f"{size:g} x"
        return name, lambda model, images: pn.quantize_without_labels(model, bytes=wanted, calibrate=images)

    free: Way = ("8 bits, no data", lambda model, images: pn.quantize_without_labels(model, 8))
    return [*([free] if options.data_free else []), *map(of_size, options.sizes)]


def measure_all(options: argparse.Namespace, record: dict[str, Any], file: Path) -> None:
    images = Images(options.data_root, options.normalize)
    start = zoo.load(options.network, weights=options.checkpoint).eval()
    found = record["networks"].setdefault(options.network, {"rows": []})
    if "float_bytes" not in found:
        found["checkpoint"] = options.checkpoint.name
        found["float_bytes"] = float32_bytes(plain_state(start))
        found["float_accuracy"] = pn.evaluate(start, images.test()).accuracy
    for way in ways(options):
        if way[0] in {row["way"] for row in found["rows"]}:
            continue
        found["rows"].append(measure(start, way, images, 1_024, 0))
        found["rows"].sort(key=lambda row: (row["way"].endswith("no data"), -row["bytes"]))
        record["hardware"] = hardware()
        write_atomic(file, (json.dumps(record, indent=1) + "\n").encode())


def points(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table: the networks' points, and those of others."""
    rows = []
    for network, found in record["networks"].items():
        for row in found["rows"]:
            lost = 100 * (row["accuracy"] - found["float_accuracy"])
            more = {"network": NAMES[network], "ratio": found["float_bytes"] / row["bytes"], "points": lost}
            rows.append({key: {**row, **more}[key] for key in COLUMNS})
    return rows


def write_figure(record: dict[str, Any], path: Path) -> None:
    series: dict[str, tuple[list[float], list[float]]] = {}
    for row in points(record):
        if not row["way"].endswith("no data"):
            xs, ys = series.setdefault(row["network"], ([], []))
            xs.append(row["ratio"])
            ys.append(row["points"])
    small = record["networks"].get("resnet20")
    for name, places in reversed(record["others"].items()):  # the single point lies on top
        if small is not None:
            xs = [small["float_bytes"] / size for size, _ in places]
            series[name] = (xs, [100 * (accuracy - small["float_accuracy"]) for _, accuracy in places])
    title = "Without labels and without training"
    fig = lines(series, title, "times smaller than float32", "test accuracy, points from float32")
    fig.axes[0].set_xticks(range(8, 44, 4))
    save_png(fig, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", nargs="?", choices=list(NAMES))
    parser.add_argument("checkpoint", nargs="?", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--normalize", choices=("imagenet", "cifar10"), default="imagenet")
    parser.add_argument("--sizes", type=float, nargs="*", default=[8, 10, 13, 16, 20, 24, 32, 40])
    parser.add_argument("--data-free", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("records/label-free-curve"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "results.json"
    record = json.loads(file.read_text()) if file.exists() else {"others": OTHERS, "networks": {}}
    if options.checkpoint is not None:
        if options.data_root is None:
            parser.error("give --data-root, the folder with cifar-10-batches-bin/")
        measure_all(options, record, file)
    write_csv(options.out / "curve.csv", points(record))
    write_figure(record, options.out / "curve.png")


if __name__ == "__main__":
    main()
