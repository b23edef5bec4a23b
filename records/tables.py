"""Writes the results tables of README.md from records/*/results.json; `--check` only compares."""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path

RECORDS = Path(__file__).resolve().parent
README = RECORDS.parent / "README.md"
CHANNEL_ROWS = {
    "method": "the smallest by `l2`, the same share of each layer",
    "random": "at random, the same share of each layer",
    "uniform": "the smallest by `l1`, `scope=uniform`, rounded down",
    "scratch": "the first row's network from random weights",
}
BLOCK = re.compile(r"(<!-- results: written by records/tables.py -->\n).*?(<!-- /results -->)", re.DOTALL)


def rows() -> list[str]:
    """A Markdown row per compressed model under records/, smallest file last."""
    results = [(p.parent.name, json.loads(p.read_text())) for p in RECORDS.glob("*/results.json")]
    compressed = sorted(((n, r) for n, r in results if "ratio" in r), key=lambda item: item[1]["ratio"])
    return [_row(name, r) for name, r in compressed]


def _row(name: str, r: dict) -> str:
    d = r["difference"]
    change = f"{d['points']:+.2f} ({d['low']:+.2f} to {d['high']:+.2f})"
    rival = min(v["bytes"] for v in r["rivals"].values())
    accuracies = f"{100 * r['before']['accuracy']:.2f} | {100 * r['after']['accuracy']:.2f}"
    size = f"{r['bytes']:,} | {r['ratio']:.1f}x"
    return f"| [{name}](records/{name}/) | {size} | {accuracies} | {change} | {rival:,} |"


def table() -> str:
    """The files that ship, with their bytes and losses."""
    head = [
        "| model and recipe | bytes | ratio | float % | compressed % | points (95 % interval) | best rival |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows()]) + "\n"


# What a row of the second table says: the record, the lab's item and its rows.
QUANTIZED = {
    "trained for {epochs} epochs, first and last layer float32": (
        "fixed-point",
        "2",
        "ours, {bits} bits, blocks",
    ),
    "without labels and training, all layers": (
        "label-free",
        "7",
        "norms, blocks, biases, {bits} bits, all layers",
    ),
}
BITS = (4, 3, 2)


def quantized_table() -> str:
    """Accuracy of the public ResNet-20 with weights in few bits."""
    lines = [
        "| weights in few bits | float % | " + " | ".join(f"{b} bits" for b in BITS) + " |",
        "|---|---|" + "---|" * len(BITS),
    ]
    for what, (record, item, name) in QUANTIZED.items():
        results = json.loads((RECORDS / f"resnet20-public-{record}" / "results.json").read_text())
        found = {r["what"]: r for r in results["rows"] if r["item"] in ("0", item)}
        few = [found[name.format(bits=bits)] for bits in BITS]
        link = f"[{what.format(**few[0])}](records/resnet20-public-{record}/)"
        cells = [f"{100 * r['accuracy']:.2f}" for r in (found["float"], *few)]
        lines.append(f"| {link} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


NETWORKS = {"resnet20": "public ResNet-20", "resnet44": "public ResNet-44", "resnet18": "ResNet-18"}
SPEED = {"resnet18": "ResNet-18", "vgg16": "VGG-16 (CIFAR form)"}


def speed_table() -> str:
    """Time of int8 files, in shares of PyTorch eager's float32 time, by runtime and batch size."""
    results = json.loads((RECORDS / "int8-speed" / "results.json").read_text())
    cells = {
        (json.loads(r["network"])[0], r["runtime"], r["batch"]): r
        for r in results["rows"]
        if r["precision"] == "int8"
    }
    ways = sorted({(runtime, batch) for _, runtime, batch in cells}, key=lambda way: (way[1], way[0]))
    head = " | ".join(f"{runtime}, batch {batch}" for runtime, batch in ways)
    lines = [
        f"| [int8](records/int8-speed/), time in % of PyTorch eager float32 | {head} |",
        "|---|" + "---|" * len(ways),
    ]
    for network, what in SPEED.items():
        shares = (f"{100 * cells[network, *way]['share_of_eager']:.1f}" for way in ways)
        lines.append(f"| {what} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def channels_table() -> str:
    """How many times as fast networks run without some channels as with all, in ONNX Runtime at batch 1."""
    results = json.loads((RECORDS / "channel-speed" / "results.json").read_text())
    cuts = list(dict.fromkeys(row["cut"] for row in results["rows"]))
    lines = [
        "| [channels cut](records/channel-speed/), ONNX Runtime, batch 1 "
        "| multiply-accumulates | float32 | int8 |",
        "|---|---|---|---|",
    ]
    for cut in cuts:
        found = {row["precision"]: row for row in results["rows"] if row["cut"] == cut}
        row = found["float32"]
        times = " | ".join(f"{found[p]['faster']:.2f}x as fast" for p in ("float32", "int8"))
        lines.append(f"| {cut} | {100 * row['macs'] / row['full_macs']:.1f} % | {times} |")
    return "\n".join(lines) + "\n"


def post_training_table() -> str:
    """Files of a given size without labels, most without training; several draws of images are averaged."""
    results = json.loads((RECORDS / "label-free-bytes" / "results.json").read_text())
    lines = [
        "| [without labels](records/label-free-bytes/); "
        "from 1,024 images and without training, but for `--distill` "
        "| bytes | ratio | float % | compressed % |",
        "|---|---|---|---|---|",
    ]
    network_bytes = next(n["float_bytes"] for f, n in results["networks"].items() if f.startswith("resnet20"))
    for file, network in results["networks"].items():
        ways = [row["way"] for row in network["rows"] if row["way"].endswith("x")]
        for way in dict.fromkeys(ways):
            rows = [row for row in network["rows"] if row["way"] == way]
            size = sum(row["bytes"] for row in rows) / len(rows)
            accuracy = sum(row["accuracy"] for row in rows) / len(rows)
            cells = (
                f"{size:,.0f} | {network['float_bytes'] / size:.1f}x",
                f"{100 * network['float_accuracy']:.2f} | {100 * accuracy:.2f}",
            )
            lines.append(f"| {NETWORKS[file.split('-')[0]]} | {' | '.join(cells)} |")
    distilled = json.loads((RECORDS / "label-free-bytes" / "distilled.json").read_text())
    for row in distilled["rows"]:
        cells = (
            f"public ResNet-20, `--distill {row['epochs']}` on {row['images']:,} images",
            f"{row['bytes']:,} | {network_bytes / row['bytes']:.1f}x",
            f"{100 * distilled['float_accuracy']:.2f} | {100 * row['accuracy']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    for path in sorted((RECORDS / "zoo").glob("*/results.json")):
        r = json.loads(path.read_text())
        cells = (
            f"{r['bytes']:,} | {r['ratio']:.1f}x",
            f"{100 * r['before']['accuracy']:.2f} | {100 * r['after']['accuracy']:.2f}",
        )
        lines.append(f"| {NETWORKS[r['architecture']]} ([file](records/zoo/)) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def channel_rows_table() -> str:
    """ResNet-20 with fewer channels, trained on: ways to choose them, and such a network from scratch."""
    results = json.loads((RECORDS / "channel-rows" / "results.json").read_text())
    full, before = results["float"]["macs"], results["float"]["accuracy"]
    lines = [
        "| [ResNet-20, channels cut](records/channel-rows/), trained on | multiply-accumulates "
        "| epochs | float % | last epoch % | mean of the last five % | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in CHANNEL_ROWS.items():
        rows = [row for row in results["rows"] if row["row"] == name]
        if not rows:
            continue
        last, mean = (statistics.mean(row[key] for row in rows) for key in ("accuracy", "mean_of_last"))
        cost = f"{full / rows[0]['macs']:.2f}x fewer | {rows[0]['epochs']}"
        accuracies = " | ".join(f"{100 * accuracy:.2f}" for accuracy in (before, last, mean))
        lines.append(f"| {title} | {cost} | {accuracies} | {len(rows)} |")
    return "\n".join(lines) + "\n"


TABLES = (table, quantized_table, post_training_table, speed_table, channels_table, channel_rows_table)


def main() -> int:
    """Writes the tables into the README, or says with --check that they are not what the records hold."""
    text = README.read_text()
    tables = "\n".join(write() for write in TABLES)
    written = BLOCK.sub(lambda m: f"{m[1]}\n{tables}\n{m[2]}", text)
    if "--check" in sys.argv[1:]:
        return int(written != text)
    README.write_text(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
