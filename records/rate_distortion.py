"""Bytes against accuracy: one pruned ResNet-20, stored ever more coarsely, a short training before each file.

    python records/rate_distortion.py --weights RUN/step-1.pt --float resnet20.pt --data-root DATA --out DIR

`step-1.pt` is what `pithnet compress --recipe smallest` leaves after its pruning step. Every point is a
recipe of its own (POINTS: zeros, levels, rate weight), stored like any other, and a row of DIR/results.json.
No point is chosen: the whole curve is the result. Points that DIR has already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pithnet.atomic import write_atomic
from pithnet.commands import compress as jobs
from pithnet.commands.evaluate import measure
from pithnet.commands.settings import CompressSettings, DataSettings
from pithnet.report import write_csv
from pithnet.report.figures import save_png
from pithnet.report.plots import FrontierPoint, frontier
from pithnet.run.hardware import hardware
from pithnet.run.progress import reporter

POINTS = (
    (0.81, 16, 0.001),
    (0.81, 8, 0.005),
    (0.81, 6, 0.02),
    (0.81, 4, 0.05),
    (0.85, 6, 0.02),
    (0.88, 6, 0.02),
    (0.91, 4, 0.05),
)
RECIPE = """
name: rate-distortion
steps:
  - prune: {{sparsity: {sparsity}}}
    {prune_training}
  - share: {{levels: {levels}, rate_weight: {rate_weight}, trained: true}}
    train: {{epochs: {epochs}, lr: 0.01}}
distill: {{weight: 0.9, temperature: 4, views: 4}}
storage: {{codebook: float16, norm: fixed10, other: fixed8}}
"""


def measure_point(options: argparse.Namespace, point: tuple[float, int, float]) -> dict[str, float | int]:
    """Compresses to one point and returns its row."""
    sparsity, levels, rate_weight = point
    run = options.out / f"zeros-{sparsity}-levels-{levels}-rate-{rate_weight}"
    recipe = options.out / f"{run.name}.yaml"
    # The start has 81 % zeros: only points beyond that have pruning to recover from.
    training = f"train: {{epochs: {options.epochs}, lr: 0.02}}" if sparsity > POINTS[0][0] else ""
    text = RECIPE.format(
        sparsity=sparsity,
        levels=levels,
        rate_weight=rate_weight,
        epochs=options.epochs,
        prune_training=training,
    )
    recipe.write_text(text)
    data = DataSettings(data="cifar10", data_root=str(options.data_root), normalize="imagenet")
    settings = CompressSettings(
        model="resnet20",
        weights=str(options.weights),
        recipe=str(recipe),
        teacher=options.teacher,
        cache=str(options.out / "cache") if options.cache is None else str(options.cache),
    )
    with reporter() as report:
        done = (run / "settings.json").exists()
        finished = (
            jobs.resume(run, report=report) if done else jobs.compress(data, settings, run, report=report)
        )
    after = finished.results["after"]
    low, high = after["interval"]
    row = {"zeros": sparsity, "levels": levels, "rate_weight": rate_weight, "bytes": finished.result.bytes}
    return {**row, "accuracy": after["accuracy"], "low": low, "high": high, "n": after["n"]}


def main() -> int:
    """Writes the curve, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--weights", "--float", "--data-root", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--teacher", help="ARCH:FILE; the start itself without it")
    parser.add_argument("--epochs", type=int, default=1, help="of training after each change")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.json"
    rows = json.loads(results.read_text())["rows"] if results.exists() else []
    data = DataSettings(data="cifar10", data_root=str(options.data_root), normalize="imagenet")
    reference = measure(options.float, data, "resnet20")["accuracy"]
    for point in POINTS[len(rows) :]:
        rows.append(measure_point(options, point))
        content = {"rows": rows, "float": reference, "epochs": options.epochs, "hardware": hardware()}
        write_atomic(results, (json.dumps(content, indent=1) + "\n").encode())
    write_csv(options.out / "curve.csv", rows)
    points = [FrontierPoint(r["bytes"], r["accuracy"], r["low"], r["high"]) for r in rows]
    save_png(frontier({"ResNet-20": points}, "Bytes against accuracy", reference), options.out / "curve.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
