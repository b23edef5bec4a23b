"""The main job in under a minute: train a small network on digits, compress it, load the file, compare."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from pithnet import artifact
from pithnet.atomic import make_folder
from pithnet.commands.compress import Announce, Finished, compress
from pithnet.commands.inputs import load_images, normalization_of
from pithnet.commands.settings import CompressSettings, DataSettings, TrainSettings
from pithnet.commands.threads import one_thread
from pithnet.commands.train import train
from pithnet.errors import ArtifactError, PithError
from pithnet.results import Store
from pithnet.run.progress import Quiet

MARK, MAKER = "demo.json", "pithnet demo"
_DATA = DataSettings(data="digits")


@dataclass(frozen=True)
class Demo:
    """The sizes of the demo; the tests take a smaller one."""

    epochs: int = 30
    batch_size: int = 64
    lr: float = 0.1
    recipe: str = "demo"


def demo(
    out: Path,
    sizes: Demo = Demo(),
    *,
    report: Quiet | None = None,
    announce: Announce | None = None,
    command: str = "pithnet demo",
) -> Finished:
    """Trains, compresses, saves OUT/model.pith, loads it and compares logits; it replaces an earlier demo.

    Args:
        out: The folder of the demo.
        sizes: How long is trained, and by which recipe is compressed.
        report: Shows what happens; nothing where None.
        announce: Gets the plan before the compression.
        command: What results.json says the run was started by.

    Raises:
        PithError: `out` holds something else, is in use or cannot be written.
        ArtifactError: The loaded model gives other logits.
    """
    report = report or Quiet()
    _clear(out)
    with one_thread():
        return _demo(out, sizes, report, announce, command)


def _demo(out: Path, sizes: Demo, report: Quiet, announce: Announce | None, command: str) -> Finished:
    report.note("training a small CNN on the bundled digits")
    settings = TrainSettings(
        model="digits-cnn", epochs=sizes.epochs, batch_size=sizes.batch_size, lr=sizes.lr, seed=0
    )
    train(_DATA, settings, out / "float", report=report, command=command)
    report.note(f"compressing it with the recipe {sizes.recipe!r}")
    chosen = CompressSettings(
        model="digits-cnn", weights=str(out / "float" / "model.pt"), recipe=sizes.recipe
    )
    finished = compress(_DATA, chosen, out, report=report, announce=announce, command=command)
    check_reload(finished)
    return finished


def check_reload(finished: Finished) -> int:
    """Counts the test images for which model.pith, loaded, gives the logits of its model bit for bit.

    Raises:
        ArtifactError: The logits of an image differ.
    """
    loaded = artifact.load(finished.store.path / "model.pith")
    images = load_images(_DATA, train=False)
    same = 0
    with torch.inference_mode():
        for x, *_ in images.test_batches(normalization_of(_DATA)):
            assert x is not None
            if not torch.equal(loaded(x), finished.result.model(x)):
                raise ArtifactError(
                    "the loaded model gives other logits than the one it was made of; please report"
                )
            same += len(x)
    return same


def _clear(out: Path) -> None:
    """Removes an earlier demo, never anything else."""
    earlier = _is_demo(out)
    if not earlier and (out / "settings.json").exists():
        raise PithError(f"{out} holds a run already, and no demo; choose another --out")
    if not earlier and (out / MARK).exists():
        raise PithError(f"{out} holds a {MARK} that pithnet demo did not write; choose another --out")
    if earlier:
        for run in (out / "float", out):
            if (run / "settings.json").exists():
                Store.open(run).close()  # refuses one that another process is at
        for path in (out / "float", out / "cache"):
            shutil.rmtree(path, ignore_errors=True)
        for name in ("settings.json", "state.pt", "events.jsonl", "results.json", "measurements.json"):
            (out / name).unlink(missing_ok=True)
    make_folder(out)
    Store(out).write_json(MARK, {"made_by": MAKER})


def _is_demo(out: Path) -> bool:
    try:
        found = json.loads((out / MARK).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("made_by") == MAKER
