"""What a run folder says, read without torch: results.json, events.jsonl, recipe.yaml."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pithnet.errors import PithError


class Accuracy(BaseModel):
    """On n images; accuracy and its 95 % interval in [0, 1]."""

    accuracy: float
    n: int
    loss: float | None = None
    interval: tuple[float, float] | None = None


class Difference(BaseModel):
    """Compressed minus float on the same images, in points, with its 95 % interval."""

    points: float
    low: float
    high: float


class Size(BaseModel):
    bytes: int
    ratio: float


class StoredTensor(BaseModel):
    """One tensor of the file; `bytes` by part."""

    name: str
    shape: list[int]
    coding: str
    zeros: int
    levels: int
    bits: float
    bytes: dict[str, int]


class Results(BaseModel):
    """results.json. All is optional: a training (`model`, `test`) has no file, unlabelled data no `after`."""

    recipe: str | None = None
    architecture: str | None = None
    model: str | None = None
    bytes: int | None = None
    float_bytes: int | None = None
    formula_ratio: float | None = None
    before: Accuracy | None = None
    after: Accuracy | None = None
    test: Accuracy | None = None
    difference: Difference | None = None
    rivals: dict[str, Size] = {}
    parts: dict[str, int] = {}
    tensors: list[StoredTensor] = []
    seconds: float | None = None
    hardware: dict[str, Any] = {}
    command: str | list[str] | None = None
    seed: int | None = None
    epochs: int | None = None
    dataset: str | None = None
    measured_on: str = "images"


class Epoch(BaseModel):
    """One epoch of training; `number` is the step it belongs to."""

    number: int = 0
    step: str = "train"
    epoch: int
    loss: float
    accuracy: float | None = None
    lr: float | None = None
    seconds: float = 0.0
    images: int = 0


class Layer(BaseModel):
    name: str
    size: int
    zeros: int
    levels: int | None = None


class Pass(BaseModel):
    """What a pass did in step `number`."""

    number: int = 0
    what: str
    layers: list[Layer] = []


@dataclass(frozen=True)
class RunRecord:
    """A finished run. file_bytes: of model.pith, where there is one; unreadable: broken lines of the log."""

    path: Path
    results: Results
    epochs: tuple[Epoch, ...]
    passes: tuple[Pass, ...]
    recipe: str
    file_bytes: int | None
    unreadable: int


def read_run(path: Path) -> RunRecord:
    """Reads a run folder. Raises PithError where it is none, is not finished, or its results are damaged."""
    epochs, passes, unreadable = _events(path / "events.jsonl") if path.is_dir() else ([], [], 0)
    results = _results(path)
    recipe, artifact = path / "recipe.yaml", path / "model.pith"
    return RunRecord(
        path,
        results,
        tuple(epochs),
        tuple(passes),
        _text(recipe) if recipe.is_file() else "",
        artifact.stat().st_size if artifact.is_file() else None,
        unreadable,
    )


def _results(path: Path) -> Results:
    file = path / "results.json"
    if not path.is_dir():
        raise PithError(f"there is no folder {path}; give the --out folder of a run")
    if not file.is_file():
        if (path / "settings.json").is_file():
            raise PithError(
                f"{path} is not finished: it has no results.json; continue it with --resume {path}"
            )
        raise PithError(f"{path} holds no run: it has no results.json; give the --out folder of a run")
    try:
        results = Results.model_validate(json.loads(_text(file)))
    except ValidationError as e:
        fault = e.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the whole"
        raise PithError(f"{file} is damaged: {where}: {fault['msg']}; run the compression again") from None
    except ValueError as e:
        raise PithError(f"{file} is damaged: {e}; run the compression again") from None
    if results.bytes is None and results.test is None:
        raise PithError(f"{file} is of no compression or training: it has neither bytes nor a test accuracy")
    return results


def _events(file: Path) -> tuple[list[Epoch], list[Pass], int]:
    """Epochs and passes in order; of what a stopped and resumed run logged twice, the later one.

    A run killed while it wrote leaves a broken line; the rest of the log is good, so it is only counted.
    """
    if not file.is_file():
        return [], [], 0
    epochs: dict[tuple[int, int], Epoch] = {}
    passes: dict[tuple[int, str], Pass] = {}
    unreadable = 0
    for line in filter(None, _text(file).splitlines()):
        try:
            event: Any = json.loads(line)
            kind = event["event"]
            if kind == "epoch":
                epoch = Epoch.model_validate(event)
                epochs[epoch.number, epoch.epoch] = epoch
            elif kind == "pass":
                done = Pass.model_validate(event)
                passes[done.number, done.what] = done
        except (ValueError, TypeError, KeyError):
            unreadable += 1
    in_order = [epochs[key] for key in sorted(epochs)]
    return in_order, sorted(passes.values(), key=lambda p: p.number), unreadable


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError as e:
        raise PithError(f"{file} cannot be read: {e.strerror}") from None
