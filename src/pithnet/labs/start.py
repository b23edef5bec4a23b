"""How every lab begins: which data, and what results.json says before the first row."""

from __future__ import annotations

import shlex
from pathlib import Path

from pithnet.labs.bench import Bench
from pithnet.labs.notebook import Notebook, Row
from pithnet.run.hardware import hardware
from pithnet.run.progress import Quiet


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
) -> tuple[Notebook, Bench]:
    """The notebook and the bench of a lab. `quick` is on the bundled digits, and says so if asked for more.

    Raises PithError, DataError and ModelError as `Notebook` and `Bench.open`.
    """
    ignored = quick and data not in (None, "digits")
    if quick or data is None:
        data, data_root = ("digits", None) if quick else ("cifar10", data_root)
    bench = Bench.open(data, data_root, weights, batch_size, seed)
    command = ["pithnet", "lab", name, "--out", str(out)]
    command += ["--quick"] if quick else ["--data", data]
    for option, value in (("--data-root", data_root), ("--weights", weights)):
        command += [option, str(value)] if value is not None else []
    command += ["--seed", str(seed)] if seed else []
    book = Notebook(
        out,
        {
            "lab": name,
            "quick": quick,
            **bench.facts(),
            **facts,
            "hardware": hardware(),
            "command": shlex.join(command),
        },
        resume=resume,
        progress=progress,
    )
    if ignored:
        book.progress.note("--quick runs on the bundled digits; --data and --data-root are not used")
    return book, bench
