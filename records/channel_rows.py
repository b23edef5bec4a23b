"""ResNet-20 with fewer channels: what a folder of trainings came to, gathered into a record.

    python records/channel_rows.py RUNS --data-root DATA --out records/channel-rows

RUNS holds finished run folders of `pithnet compress` (NAME-SEED, a recipe with a step `shrink`) and of
`pithnet train --widths` (scratch-SEED). The accuracy is that of the last epoch on the 10,000 CIFAR-10 test
images; beside it stands the mean of the last five epochs where last-EPOCH.pt holds the state_dict after each
of the four before. Folders choose-NAME are the short trainings by which the settings were chosen, on 5,000
training images held out.
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
    found |= {
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": len(pn.encode(pn.finalize(model))),
    }
    last = pn.evaluate(model.eval(), test).accuracy
    before = [_accuracy(model, folder / f"last-{epochs - back}.pt", test) for back in range(1, LAST)]
    known = [accuracy for accuracy in before if accuracy is not None]
    mean = statistics.mean([last, *known]) if len(known) == LAST - 1 else None
    return {**found, "accuracy": last, "mean_of_last": mean}


def _network(folder: Path) -> torch.nn.Module:
    """The network as the last epoch has left it."""
    if (folder / "model.pith").exists():
        return pn.load(folder / "model.pith")
    settings = json.loads((folder / "settings.json").read_text())
    model = zoo.build(settings["settings"]["model"], widths=settings["widths"])
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    return model


def _accuracy(model: torch.nn.Module, state: Path, test: data.Batches) -> float | None:
    """The accuracy with an earlier epoch's numbers; None where they were not kept."""
    if not state.exists():
        return None
    model.load_state_dict(torch.load(state, weights_only=True)["model"])
    return pn.evaluate(model.eval(), test).accuracy


def main() -> None:
    """Writes the rows of the runs that are finished."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--float", type=Path, default=Path(__file__).parent / "resnet20-own.pt")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    images = data.load("cifar10", options.data_root, "test")
    test = data.Batches(images, 500, data.NORMALIZATIONS["cifar10"])
    done = [
        file.parent
        for file in sorted(options.runs.glob("*/results.json"))
        if not file.parent.name.startswith("choose-")
    ]
    rows = [row(folder, test, torch.zeros(1, 3, 32, 32)) for folder in done]
    choices = [chosen(file.parent) for file in sorted(options.runs.glob("choose-*/results.json"))]
    options.out.mkdir(parents=True, exist_ok=True)
    for folder in done:
        shutil.copy(folder / "events.jsonl", options.out / f"{folder.name}.jsonl")
        if (folder / "recipe.yaml").exists():
            shutil.copy(folder / "recipe.yaml", options.out / f"{folder.name}.yaml")
    full = zoo.load("resnet20", weights=options.float).eval()
    before = {
        "macs": pn.costs(full, torch.zeros(1, 3, 32, 32)).macs,
        "accuracy": pn.evaluate(full, test).accuracy,
    }
    content = {"float": before, "chosen_on_held_out_images": choices, "rows": rows, **hardware()}
    (options.out / "results.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
