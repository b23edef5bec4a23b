"""How fast files run: against PyTorch eager, and against the same runtime's float32, in one run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pithnet.commands.bench_entries import EAGER, FLOAT, INT8, Entry, bench_entries
from pithnet.commands.settings import BenchSettings
from pithnet.deploy import has_int8_instructions, time_in_turn
from pithnet.errors import PithError
from pithnet.run.hardware import hardware
from pithnet.run.progress import Quiet

HELPS = 0.95  # of float32's time: above it int8 did not help


def bench(files: Sequence[Path], settings: BenchSettings, *, report: Quiet | None = None) -> dict[str, Any]:
    """Times every file with 1 and with all threads, for every batch size.

    A checkpoint or .pith runs in PyTorch eager and, exported, as float32 in ONNX Runtime. An ONNX file that
    pithnet wrote names its architecture: where no other file gives its references, they are built from that,
    with random weights, which takes the same time.

    Args:
        files: ONNX files, .pith files and checkpoints.
        settings: The batch sizes, threads and seconds.
        report: Shows what happens; nothing where None.

    Returns:
        rows, with times in ms; verdicts, the sentences where int8 did not help; int8_instructions; hardware.

    Raises:
        PithError: A file or a setting cannot be used.
    """
    _check(files, settings)
    show = report or Quiet()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        show.note("preparing the models")
        entries = bench_entries(files, settings, Path(folder))
        cells = [(b, t) for t in _threads(settings) for b in settings.batch]
        for i, (batch, threads) in enumerate(cells, 1):
            show.note(f"{i} of {len(cells)}: {where(batch, threads)}, {len(entries)} contenders")
            rows += _cell(entries, batch, threads, settings.seconds)
    verdicts = [said for row in rows if (said := verdict(row)) is not None]
    return {
        "rows": rows,
        "verdicts": verdicts,
        "int8_instructions": has_int8_instructions(),
        "hardware": hardware(),
    }


def where(batch: int, threads: int) -> str:
    """Returns the place of a time in words, such as 'batches of 64, 1 thread'."""
    return f"batches of {batch}, {threads} thread{'s' if threads > 1 else ''}"


def _check(files: Sequence[Path], settings: BenchSettings) -> None:
    if not files:
        raise PithError("nothing to time: give ONNX files, .pith files or checkpoints")
    if settings.seconds <= 0:
        raise PithError(f"--seconds {settings.seconds}: must be positive")
    for name, values in (("batch", settings.batch), ("threads", settings.threads or (1,))):
        if not values or min(values) < 1:
            raise PithError(f"--{name} {' '.join(map(str, values))}: give numbers from 1")


def _threads(settings: BenchSettings) -> list[int]:
    return sorted(set(settings.threads or (1, os.cpu_count() or 1)))


def _cell(entries: Sequence[Entry], batch: int, threads: int, seconds: float) -> list[dict[str, Any]]:
    timings = time_in_turn([e.contender for e in entries], batch, threads, seconds)
    medians = [t.median for t in timings]
    rows = []
    for entry, timing in zip(entries, timings, strict=True):
        rows.append(
            {
                "network": entry.network,
                "file": entry.name,
                "runtime": entry.runtime,
                "precision": entry.precision,
                "bytes": entry.bytes,
                "batch": batch,
                "threads": threads,
                "ms": timing.median,
                "ms_middle_half": [timing.low, timing.high],
                "rounds": timing.rounds,
                "share_of_eager": _share(timing.median, _reference(entries, medians, entry, EAGER)),
                "share_of_float32": _share(timing.median, _reference(entries, medians, entry, entry.runtime)),
            }
        )
    return rows


def _reference(
    entries: Sequence[Entry], medians: Sequence[float], entry: Entry, runtime: str
) -> float | None:
    """The first float32 time of the same network in that runtime."""
    wanted = (entry.network, runtime, FLOAT)
    pairs = zip(entries, medians, strict=True)
    return next((ms for e, ms in pairs if (e.network, e.runtime, e.precision) == wanted), None)


def _share(ms: float, reference: float | None) -> float | None:
    return None if reference is None else ms / reference


def verdict(row: dict[str, Any]) -> str | None:
    """Returns a sentence where int8 did not help, else None."""
    share = row["share_of_float32"]
    if row["precision"] != INT8 or share is None or share < HELPS:
        return None
    return (
        f"int8 did not help: {row['file']} takes {100 * share:.0f} % of {row['runtime']}'s float32 time "
        f"({where(row['batch'], row['threads'])})"
    )
