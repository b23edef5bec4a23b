"""What a run folder says, read without torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pithnet.errors import PithError
from pithnet.results.event_log import EventLog, read_events
from pithnet.results.measured import Measurements, Plan

_Kind = TypeVar("_Kind", bound=BaseModel)


class Accuracy(BaseModel):
    """An accuracy, or another metric in its place, and its 95 % interval.

    Attributes:
        accuracy: The mean score.
        n: The number of images or samples.
        loss: The mean loss.
        interval: The ends of the interval.
        metric: The name of what was measured.
        share: Whether the scores lie in [0, 1], and are not in a unit of their own.
    """

    accuracy: float
    n: int
    loss: float | None = None
    interval: tuple[float, float] | None = None
    metric: str = "accuracy"
    share: bool = True

    @property
    def unit(self) -> str:
        """The sign that stands after `shown`."""
        return " %" if self.share else ""

    def shown(self, value: float) -> str:
        """Says a value of the metric as people read it: per cent of a share."""
        return f"{100 * value:.2f}" if self.share else f"{value:.4g}"

    @property
    def score(self) -> str:
        """The mean score with its unit."""
        return f"{self.shown(self.accuracy)}{self.unit}"

    @property
    def span(self) -> str:
        """The interval's ends, without their unit; empty where there is no interval."""
        return "" if self.interval is None else " to ".join(map(self.shown, self.interval))


class Difference(BaseModel):
    """Compressed minus float on the same images and its 95 % interval: in points, or the metric's unit."""

    points: float
    low: float
    high: float
    metric: str = "accuracy"
    share: bool = True

    def shown(self, value: float) -> str:
        """Says a difference with its sign."""
        return f"{value:+.2f}" if self.share else f"{value:+.3g}"

    @property
    def gain(self) -> str:
        """The difference with its sign and its unit."""
        return f"{self.shown(self.points)}{' points' if self.share else ''}"

    @property
    def span(self) -> str:
        """The interval's ends, without their unit."""
        return f"{self.shown(self.low)} to {self.shown(self.high)}"

    @property
    def things(self) -> str:
        """What both networks have seen, in a word."""
        return "images" if self.metric == "accuracy" else "samples"


class Size(BaseModel):
    """Bytes of a trivial way, and how many times smaller than float32 that is; `estimated` from samples."""

    bytes: int
    ratio: float
    estimated: bool = False

    @property
    def about(self) -> str:
        """The sign before an estimate."""
        return "~" if self.estimated else ""


def layer_name(tensor: str) -> str:
    """Returns the name of the layer whose tensor it is, or its own where it is not called `weight`."""
    return tensor.removesuffix(".weight") or tensor


class StoredTensor(BaseModel):
    """One tensor of the file.

    Attributes:
        name: Its name in the state_dict.
        shape: Its shape.
        dtype: Its type in the network.
        coding: How the file holds it.
        zeros: The number of its zeros.
        levels: The number of its distinct non-zero values.
        bits: The bits that a number takes on average.
        bytes: Its bytes of the file by part; none where it is tied to another.
        size: How many numbers it holds.
        spent: Its bytes of the file.
        is_weight: Whether it has two dimensions or more: what is pruned and shared; the others are vectors.
        short: The name of its layer.
    """

    name: str
    shape: list[int]
    dtype: str = "float32"
    coding: str
    zeros: int
    levels: int
    bits: float
    bytes: dict[str, int]
    size: int = 0
    spent: int = 0
    is_weight: bool = False
    short: str = ""

    def model_post_init(self, _: Any) -> None:
        """Works out what follows from the file's own fields, once for every table and figure."""
        self.size, self.spent = math.prod(self.shape), sum(self.bytes.values())
        self.is_weight, self.short = len(self.shape) > 1, layer_name(self.name)


class LeftOut(BaseModel):
    """A tensor that nothing compresses, and why."""

    name: str
    parameters: int
    why: str


class Removed(BaseModel):
    """What removed channels save.

    Attributes:
        macs: The multiply-accumulates of one sample before and after.
        parameters: The numbers of the parameters before and after.
    """

    macs: tuple[int, int]
    parameters: tuple[int, int]

    def __str__(self) -> str:
        parts = (("MACs", *self.macs), ("parameters", *self.parameters))
        return ", ".join(f"{name} {a:,} -> {b:,} ({a / max(b, 1):.2f}x fewer)" for name, a, b in parts)


class Results(BaseModel):
    """The content of results.json.

    Every key is optional: a training (`model`, `test`) has no file, and unlabelled data has no `after`.
    """

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
    coverage: float | None = None
    left_out: list[LeftOut] = []
    removed: Removed | None = None
    seconds: float | None = None
    train_seconds: float | None = None
    hardware: dict[str, Any] = {}
    command: str | list[str] | None = None
    seed: int | None = None
    epochs: int | None = None
    dataset: str | None = None
    measured_on: str = "images"


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        results: The content of results.json.
        log: The content of events.jsonl.
        recipe: The text of recipe.yaml.
        file_bytes: The bytes of model.pith; None where there is none.
        plan: The content of plan.json; None where there is none.
        measurements: The content of measurements.json; None where there is none.
    """

    results: Results
    log: EventLog
    recipe: str
    file_bytes: int | None
    plan: Plan | None
    measurements: Measurements | None


def read_run(path: Path) -> RunRecord:
    """Reads a run folder.

    Raises:
        PithError: The folder holds no run, the run is not finished, or a file of it is damaged.
    """
    results = _results(path)
    artifact = path / "model.pith"
    return RunRecord(
        results,
        read_events(_text(path / "events.jsonl")),
        _text(path / "recipe.yaml"),
        artifact.stat().st_size if artifact.is_file() else None,
        _optional(path / "plan.json", Plan),
        _optional(path / "measurements.json", Measurements),
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
    if (path / "index.html").is_file():
        raise PithError(f"{path} is a lab; its page is {path / 'index.html'}")
    results = _parsed(file, Results)
    if results.bytes is None and results.test is None and results.model is None:
        raise PithError(f"{file} is of no compression or training: it has neither bytes nor a test accuracy")
    return results


def _optional(file: Path, kind: type[_Kind]) -> _Kind | None:
    return _parsed(file, kind) if file.is_file() else None


def _parsed(file: Path, kind: type[_Kind]) -> _Kind:
    try:
        return kind.model_validate(json.loads(_text(file)))
    except ValidationError as e:
        fault = e.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the whole"
        raise PithError(f"{file} is damaged: {where}: {fault['msg']}; run the compression again") from None
    except ValueError as e:
        raise PithError(f"{file} is damaged: {e}; run the compression again") from None


def _text(file: Path) -> str:
    """Its text; empty where there is no such file."""
    if not file.is_file():
        return ""
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError as e:
        raise PithError(f"{file} cannot be read: {e.strerror}") from None
