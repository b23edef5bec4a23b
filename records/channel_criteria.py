"""Which channels to remove: every criterion on ResNet-20 without training, and penalties on the digits.

    python records/channel_criteria.py --weights records/resnet20-own.pt --data-root DATA --out DIR

The first table: ResNet-20 at 1.8x fewer multiply-accumulates (round_to 1), BN statistics taken anew from
training images, no other training, accuracy on the 10,000 CIFAR-10 test images. Taylor sees labelled
training images. The second: digits-cnn trained from random weights with a penalty on channels, which are cut
off at the end of it (4x fewer multiply-accumulates), beside the same training without a penalty. Strengths
are chosen with seed 0 on held-out training images. `--tables` measures one of the two again, and keeps the
other's rows.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pithnet as pn
from pithnet.atomic import write_atomic
from pithnet.data import NORMALIZATIONS, ArrayData, Batches, load
from pithnet.learn import Trainer, from_scratch, wilson
from pithnet.passes import reestimate_norms
from pithnet.report import write_csv
from pithnet.run.hardware import hardware
from pithnet.tensor import CHANNEL_CRITERIA

Row = dict[str, Any]
SCOPES, SEEDS = ("global", "uniform"), (0, 1, 2)
MACS, LABELLED, STATISTICS = 1 / 1.8, 1_024, 4_096
DIGITS_MACS, EPOCHS, HELD_OUT, WIDTH = 1 / 4, 15, 297, 16
KINDS: dict[str, tuple[str, tuple[float, ...]]] = {
    "slimming": ("slimming", (1e-2, 3e-2, 1e-1)),
    "group-lasso": ("l2", (4e-4, 8e-4, 1.6e-3, 3.2e-3)),
    "growing": ("l1", (1e-2, 3e-2, 1e-1)),
}


def measured(model: nn.Module, test: Batches) -> Row:
    """Accuracy with its 95 % interval."""
    found = pn.evaluate(model, test)
    low, high = wilson(round(found.accuracy * len(test.data)), len(test.data))
    return {"accuracy": found.accuracy, "low": low, "high": high, "n": len(test.data)}


class ResNet20:
    """The first table."""

    def __init__(self, weights: Path, root: Path) -> None:
        torch.manual_seed(0)
        normalization = NORMALIZATIONS["cifar10"]
        self.model = pn.zoo.load("resnet20", weights=weights).eval()
        images = load("cifar10", root, "train").split(LABELLED + STATISTICS, seed=0)[1]
        labelled, statistics = images.split(STATISTICS, seed=1)
        self.labelled = list(Batches(labelled, 64, normalization))
        self.statistics = [(x, y) for x, y in Batches(statistics, 256, normalization)]
        self.test = Batches(load("cifar10", root, "test"), 500, normalization)

    def row(self, criterion: str, scope: str, seed: int) -> Row:
        plan = pn.plan_shrink(
            self.model, torch.zeros(1, 3, 32, 32), macs=MACS, criterion=criterion, scope=scope, round_to=1,
            seed=seed, batches=self.labelled,
        )  # fmt: skip
        small = plan.cut()
        reestimate_norms(small, self.statistics)
        costs = {"macs": plan.macs, "full_macs": plan.full_macs, "parameters": plan.parameters}
        named = {"table": "resnet20", "criterion": criterion, "scope": scope, "seed": seed}
        return {**named, **measured(small, self.test), **costs}


class Digits:
    """The second table."""

    def __init__(self) -> None:
        normalization = NORMALIZATIONS["digits"]
        train, held_out = load("digits", None, "train").split(HELD_OUT, seed=0)
        self.train: ArrayData = train
        self.normalization = normalization
        self.held_out = Batches(held_out, 500, normalization)
        self.test = Batches(load("digits", None, "test"), 500, normalization)

    def trained(self, seed: int, kind: str | None, criterion: str, strength: float) -> nn.Module:
        """The small network, its norms' statistics taken anew."""
        torch.manual_seed(seed)
        model, example = pn.zoo.build("digits-cnn", width=WIDTH), torch.zeros(1, 1, 8, 8)
        settings = {"macs": DIGITS_MACS, "criterion": criterion, "round_to": 1}
        schedule = None
        if kind is not None:
            schedule = pn.ChannelSparsity(
                model, example, kind, strength=strength, until=1.0, updates=EPOCHS, **settings
            )
        batches = Batches(self.train, 50, self.normalization, shuffle=True, seed=seed)
        for _ in Trainer(model, batches, from_scratch(EPOCHS), before_step=schedule).run():
            pass
        plan = pn.plan_shrink(model, example, **settings) if schedule is None else schedule.finish()
        small = plan.cut()
        reestimate_norms(small, list(Batches(self.train, 250, self.normalization)))
        return small.eval()

    def trials(self, kind: str) -> list[Row]:
        """A row for each strength: the accuracy on held-out images, with seed 0."""
        criterion, strengths = KINDS[kind]
        named = {"table": "digits", "images": "held out", "penalty": kind, "criterion": criterion, "seed": 0}
        return [
            {**named, "strength": s, **measured(self.trained(0, kind, criterion, s), self.held_out)}
            for s in strengths
        ]

    def row(self, kind: str | None, criterion: str, seed: int, strength: float) -> Row:
        small = self.trained(seed, kind, criterion, strength)
        named = {"table": "digits", "images": "test", "penalty": kind or "none", "criterion": criterion}
        return {**named, "seed": seed, "strength": strength, **measured(small, self.test)}


def resnet20_rows(options: argparse.Namespace) -> Iterator[Row]:
    """The rows of the first table, that of the whole network first."""
    network = ResNet20(options.weights, options.data_root)
    whole = {"table": "resnet20", "criterion": "none", "scope": "none", "seed": 0}
    yield {**whole, **measured(network.model, network.test)}
    for scope in SCOPES:
        for criterion in CHANNEL_CRITERIA:
            for seed in SEEDS if criterion == "random" else SEEDS[:1]:
                yield network.row(criterion, scope, seed)


def digits_rows(options: argparse.Namespace) -> Iterator[Row]:
    """The rows of the second table, each with the one without a penalty before it."""
    digits = Digits()
    for kind, (criterion, _) in KINDS.items():
        trials = digits.trials(kind)
        yield from trials
        strength = max(trials, key=lambda row: row["accuracy"])["strength"]
        for seed in SEEDS:
            yield digits.row(None, criterion, seed, 0.0)
            yield digits.row(kind, criterion, seed, strength)


TABLES = {"resnet20": resnet20_rows, "digits": digits_rows}


def main() -> int:
    """Writes the table of criteria, and returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("--weights", "--data-root", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.json"
    kept = json.loads(results.read_text())["rows"] if results.exists() else []
    rows = [row for row in kept if row["table"] not in options.tables]
    command = ["python", "records/channel_criteria.py", "--weights", "records/resnet20-own.pt"]
    command += ["--data-root", "DATA", "--out", "records/channel-criteria"]
    content = {
        "rows": rows,
        "settings": {
            "macs": MACS, "labelled_images": LABELLED, "statistics_images": STATISTICS,
            "digits_macs": DIGITS_MACS, "digits_epochs": EPOCHS, "digits_width": WIDTH,
            "strengths": {kind: strengths for kind, (_, strengths) in KINDS.items()},
        },
        "hardware": hardware(),
        "command": shlex.join(command),
    }  # fmt: skip
    for table in options.tables:
        for row in TABLES[table](options):
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
            write_atomic(results, (json.dumps(content, indent=1) + "\n").encode())
    for table in TABLES:
        write_csv(options.out / f"{table}.csv", [row for row in rows if row["table"] == table])
    return 0


if __name__ == "__main__":
    sys.exit(main())
