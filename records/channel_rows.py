"""ResNet-20 with fewer channels: what a folder of trainings came to, gathered into a record.

    python records/channel_rows.py RUNS --data-root DATA --out records/channel-rows

RUNS holds finished run folders of `pithnet compress` (NAME-SEED, a recipe with a step `shrink`) and of
`pithnet train --widths` (scratch-SEED), each with last-EPOCH.pt, the state_dict after each of the last five
epochs. The accuracy is that of the last epoch on the 10,000 CIFAR-10 test images; beside it stands
the mean of the last five. Folders choose-NAME are the short trainings by which the settings were chosen, on
5,000 training images held out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import torch

import pithnet as pn
from pithnet import data, zoo
from pithnet.run.hardware import hardware

Row = dict[str, Any]
LAST = 5


def chosen(folder: Path) -> Row:
    """A short training on the validation split."""
    found = json.loads((folder / "results.json").read_text())
    full, left = found["removed"]["macs"]
    after = found["after"]
    name = folder.name.removeprefix("choose-")
    return {"settings": name, "macs": left, "full_macs": full, "accuracy": after["accuracy"], "n": after["n"]}


def row(folder: Path, test: data.Batches, example: torch.Tensor) -> Row:
    """A whole training: multiply-accumulates, bytes, and the accuracies of its last epochs."""
    name, seed = folder.name.rsplit("-", 1)
    trained = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    epochs = sum(event["event"] == "epoch" for event in trained)
    model = _network(folder)
    costs = pn.costs(model, example)
    found = {"row": name, "seed": int(seed), "epochs": epochs, "macs": costs.macs}
    found |= {"parameters": sum(p.numel() for p in model.parameters()), "bytes": len(pn.encode(model))}
    accuracies = []
    for file in sorted(folder.glob("last-*.pt"), key=lambda path: int(path.stem.split("-")[1])):
        model.load_state_dict(torch.load(file, weights_only=True)["model"])
        accuracies.append(pn.evaluate(model.eval(), test).accuracy)
    whole = len(accuracies) == LAST
    return {
        **found,
        "accuracy": accuracies[-1],
        "mean_of_last": statistics.mean(accuracies) if whole else None,
    }


def _network(folder: Path) -> torch.nn.Module:
    if (folder / "model.pith").exists():
        return pn.load(folder / "model.pith")
    settings = json.loads((folder / "settings.json").read_text())["settings"]
    widths = json.loads(Path(settings["widths"]).read_text())["widths"]
    return zoo.build(settings["model"], widths=widths)


def main() -> None:
    """Writes the rows of the runs that are finished."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    images = data.load("cifar10", options.data_root, "test")
    test = data.Batches(images, 500, data.NORMALIZATIONS["cifar10"])
    done = [folder for folder in sorted(options.runs.iterdir()) if any(folder.glob("last-*.pt"))]
    rows = [row(folder, test, torch.zeros(1, 3, 32, 32)) for folder in done]
    choices = [chosen(file.parent) for file in sorted(options.runs.glob("choose-*/results.json"))]
    options.out.mkdir(parents=True, exist_ok=True)
    for folder in done:
        shutil.copy(folder / "events.jsonl", options.out / f"{folder.name}.jsonl")
        if (folder / "recipe.yaml").exists():
            shutil.copy(folder / "recipe.yaml", options.out / f"{folder.name}.yaml")
    content = {"chosen_on_held_out_images": choices, "rows": rows, **hardware()}
    (options.out / "results.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
