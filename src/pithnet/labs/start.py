"""How every lab begins: which data, and what results.json says before the first row."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pithnet.commands.settings import DataSettings
from pithnet.errors import PithError
from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.options import LabOptions
from pithnet.labs.workbench import ARCHITECTURES, Workbench
from pithnet.run.hardware import hardware
from pithnet.run.progress import Quiet


def open_lab(
    name: str,
    out: Path,
    options: LabOptions,
    *,
    batch_size: int,
    facts: Row,
    models: Mapping[str, str] = ARCHITECTURES,
    progress: Quiet | None = None,
) -> tuple[Notebook, Workbench]:
    """Opens bench and notebook at once, for a lab whose facts do not depend on the bench."""
    bench = open_bench(out, options, batch_size=batch_size, models=models, progress=progress)
    return open_book(name, out, options, bench, facts, progress), bench


def open_bench(
    out: Path,
    options: LabOptions,
    *,
    batch_size: int,
    models: Mapping[str, str] = ARCHITECTURES,
    teacher: str | None = None,
    progress: Quiet | None = None,
) -> Workbench:
    """Opens the network, images and teacher of a lab, and writes nothing.

    `models` (by data set) and `teacher` are the lab's own, where the options name none; a lab that never has
    a teacher gives None.

    Raises:
        PithError: `quick` does not run the model, or `Workbench.open` refuses what is asked for.
    """
    o = options
    if o.quick and o.model not in (None, models["digits"]):
        raise PithError(f"--quick runs {models['digits']} on the bundled digits; leave out --model {o.model}")
    data, data_root = _data(o)
    precision = o.precision
    if o.resume and precision == "auto":
        precision = earlier(out, "precision") or precision
    network = o.model or models.get(data)
    show = progress or Quiet()
    images = DataSettings(
        data=data,
        data_root=None if data_root is None else str(data_root),
        download=o.download and not o.quick,
    )
    asked = teacher if o.teacher is None else o.teacher
    return Workbench.open(
        images, o.weights, batch_size, o.seed, precision, network, show.download, asked, o.device
    )


def open_book(
    name: str,
    out: Path,
    options: LabOptions,
    bench: Workbench | None,
    facts: Row,
    progress: Quiet | None = None,
) -> Notebook:
    """Opens the notebook of a lab, which is from then on in `out`; errors are those of `Notebook`.

    A lab that makes its own data has no `bench`. `facts` are what results.json says beside the bench's own;
    every training is said in the bench's precision.
    """
    o = options
    if bench is None:
        done = replace(o, data=None, data_root=None, weights=None)
        unused = done != o, f"lab {name} makes its own data; --data, --data-root and --weights are not used"
    else:
        data, data_root = _data(o)
        done = replace(o, data=None if o.quick else data, data_root=data_root, precision=bench.precision)
        given = o.quick and o.data not in (None, "digits")
        unused = given, "--quick runs on the bundled digits; --data and --data-root are not used"
    book = Notebook(
        out,
        {
            "lab": name,
            "quick": o.quick,
            **(bench.facts() if bench else {}),
            **_in_precision(facts, done.precision),
            "hardware": hardware(),
            "command": command(name, out, done),
        },
        resume=o.resume,
        progress=progress,
    )
    if unused[0]:
        book.progress.note(unused[1])
    return book


def _data(options: LabOptions) -> tuple[str, Path | None]:
    """The data set's name and where it is."""
    return ("digits", None) if options.quick else (options.data or "cifar10", options.data_root)


def earlier(out: Path, key: str) -> Any:
    """Returns what the results.json in `out` says of that name, None where there is none.

    "auto" precision, timed again, might come to something else; so a lab that goes on asks what it came to.
    """
    try:
        return json.loads((out / "results.json").read_text())[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _in_precision(facts: Any, precision: str) -> Any:
    """The facts with every training as it is carried out, in the lab's precision."""
    if not isinstance(facts, dict):
        return facts
    own = {"precision": precision} if {"lr", "precision"} <= facts.keys() else {}
    return {key: _in_precision(value, precision) for key, value in facts.items()} | own


def command(name: str, out: Path, options: LabOptions) -> str:
    """Returns what to type for the same lab, without what is usual and what was done once."""
    words = ["pithnet", "lab", name, "--out", str(out)]
    for field in fields(options):
        value, option = getattr(options, field.name), f"--{field.name.replace('_', '-')}"
        if value != field.default and field.name not in ("resume", "download"):
            words += [option] if value is True else [option, str(value)]
    return shlex.join(words)
