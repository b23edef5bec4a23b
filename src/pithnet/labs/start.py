"""How every lab begins: which data, and what results.json says before the first row."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pithnet.errors import PithError
from pithnet.labs.bench import ARCHITECTURES, Bench
from pithnet.labs.notebook import Notebook, Row
from pithnet.run.hardware import hardware
from pithnet.run.progress import Quiet


def chosen_items(items: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The items in "2,4", all where None. Raises PithError for one that the lab does not have."""
    chosen = tuple(known) if items is None else tuple(item.strip() for item in items.split(","))
    for item in chosen:
        if item not in known:
            raise PithError(f"this lab has no item {item!r}; its items are {', '.join(known)}")
    return chosen


def checked_epochs(epochs: int | None) -> int | None:
    """The epochs asked for. Raises PithError for less than 1."""
    if epochs is not None and epochs < 1:
        raise PithError(f"epochs must be at least 1, got {epochs}")
    return epochs


def open_lab(
    name: str,
    out: Path,
    *,
    data: str | None,
    data_root: Path | None,
    weights: Path | None,
    quick: bool,
    resume: bool,
    seed: int,
    progress: Quiet | None,
    batch_size: int,
    facts: Row,
    precision: str = "float32",
    items: str | None = None,
    epochs: int | None = None,
    model: str | None = None,
    models: Mapping[str, str] = ARCHITECTURES,
) -> tuple[Notebook, Bench]:
    """The notebook and the bench of a lab. `quick` is on the bundled digits, and says so if asked for more.

    model: the architecture asked for; `models`, by data set, has the lab's own. Raises PithError where
    `quick` does not run it; PithError, DataError and ModelError as `Notebook` and `Bench.open`.
    """
    if quick and model not in (None, models["digits"]):
        raise PithError(f"--quick runs {models['digits']} on the bundled digits; leave out --model {model}")
    ignored = quick and data not in (None, "digits")
    if quick or data is None:
        data, data_root = ("digits", None) if quick else ("cifar10", data_root)
    if resume and precision == "auto":
        precision = _earlier_precision(out) or precision
    network = model or models.get(data)
    bench = Bench.open(data, data_root, weights, batch_size, seed, precision, network)
    options = {
        "--data": None if quick else data,
        "--data-root": data_root,
        "--model": model,
        "--weights": weights,
        "--seed": seed or None,
        "--precision": bench.precision if bench.precision != "float32" else None,
        "--items": items,
        "--epochs": epochs,
    }
    book = Notebook(
        out,
        {
            "lab": name,
            "quick": quick,
            **bench.facts(),
            **_in_precision(facts, bench.precision),
            "hardware": hardware(),
            "command": _command(name, out, quick, options),
        },
        resume=resume,
        progress=progress,
    )
    if ignored:
        book.progress.note("--quick runs on the bundled digits; --data and --data-root are not used")
    return book, bench


def _earlier_precision(out: Path) -> str | None:
    """What "auto" came to when the lab in `out` began: timed again, it might come to something else."""
    try:
        return str(json.loads((out / "results.json").read_text())["precision"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _in_precision(facts: Any, precision: str) -> Any:
    """The facts with every training as it is carried out, in the lab's precision."""
    if not isinstance(facts, dict):
        return facts
    own = {"precision": precision} if {"lr", "precision"} <= facts.keys() else {}
    return {key: _in_precision(value, precision) for key, value in facts.items()} | own


def _command(name: str, out: Path, quick: bool, options: Mapping[str, object]) -> str:
    """What to type for the same lab; options that are None are left out."""
    words = ["pithnet", "lab", name, "--out", str(out), *(["--quick"] if quick else [])]
    for option, value in options.items():
        words += [option, str(value)] if value is not None else []
    return shlex.join(words)
