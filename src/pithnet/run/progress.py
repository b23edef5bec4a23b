"""What the user sees while something runs.

That is a bar with the time left on a terminal, and elsewhere a line per epoch.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from pithnet.heartbeat import Step
    from pithnet.learn import EpochRecord

_LINE_SECONDS = 60.0


class Quiet:
    """A display that shows nothing: the base of the others."""

    def begin(self, epochs: int, done: int = 0) -> None:
        """Tells that a training of `epochs` in all begins, `done` of which an earlier process did."""

    def batch(self, title: str, done: int, total: int) -> None:
        """Tells that `done` of `total` steps of the epoch are done.

        Under the title "teacher" they are steps of the teacher's answers.
        """

    def epoch(self, title: str, record: EpochRecord, epochs: int) -> None:
        """Tells that an epoch of the step `title`, which has `epochs`, is done."""

    def download(self, done: int, total: int | None) -> None:
        """Tells how many bytes have been fetched so far, of `total`, which is None where it is unknown."""

    def note(self, text: str) -> None:
        """Shows a line about what happens next."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the terminal as it was."""


class Beats(Quiet):
    """A display that tells the heartbeat's `step` where a training is; library calls use it."""

    def __init__(self, step: Step) -> None:
        self._step, self._epochs = step, 0

    def batch(self, title: str, done: int, total: int) -> None:
        what = "ask the teacher" if title == "teacher" else f"{title}, epoch {self._epochs + 1}"
        self._step.tell(what, done, total, "steps")

    def epoch(self, title: str, record: EpochRecord, epochs: int) -> None:
        self._epochs = record.epoch % epochs


class Lines(Quiet):
    """A plain line per epoch, for logs; long stretches without one get a line a minute."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self._total = self._done = self._first = 0
        self._start = self._said = time.monotonic()

    def begin(self, epochs: int, done: int = 0) -> None:
        self._total, self._done, self._first, self._start = epochs, done, done, time.monotonic()

    def batch(self, title: str, done: int, total: int) -> None:
        if title == "teacher" and done == total:
            self._start = time.monotonic()  # the first epoch begins now
        if time.monotonic() - self._said > _LINE_SECONDS:
            self.note(f"{title}: {done}/{total}")

    def epoch(self, title: str, record: EpochRecord, epochs: int) -> None:
        self._done += 1
        pace = (time.monotonic() - self._start) / max(self._done - self._first, 1)
        left = f", {clock(pace * (self._total - self._done))} left" if self._done < self._total else ""
        self.note(f"{title}: {describe(record, epochs)}{left}")

    def download(self, done: int, total: int | None) -> None:
        if time.monotonic() - self._said > _LINE_SECONDS / 6 or done == total:
            self.note(f"downloading: {done / 1e6:.0f} of {(total or 0) / 1e6:.0f} MB")

    def note(self, text: str) -> None:
        self._said = time.monotonic()
        print(text, file=self.stream, flush=True)


class Bar(Lines):
    """One bar over all epochs, a line above it for each that is done."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskID,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
        self._console = Console(stderr=True)
        self._progress = Progress(
            *columns,
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            speed_estimate_period=120,
        )
        self._tasks: dict[str, TaskID] = {}

    def begin(self, epochs: int, done: int = 0) -> None:
        super().begin(epochs, done)
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()

    def _update(self, key: str, title: str, done: float, total: float, count: str) -> None:
        if key not in self._tasks:
            start: Any = done if key == "epochs" else 0
            self._tasks[key] = self._progress.add_task(title, total=total, completed=start, count=count)
            self._progress.start()
        self._progress.update(self._tasks[key], completed=done, description=title, count=count, total=total)

    def batch(self, title: str, done: int, total: int) -> None:
        if title == "teacher":
            self._update(title, "asking the teacher", done, total, f"{done}/{total}")
        else:
            self._update(
                "epochs",
                title,
                self._done + done / total,
                self._total,
                f"epoch {self._done + 1}/{self._total}",
            )

    def epoch(self, title: str, record: EpochRecord, epochs: int) -> None:
        self._done += 1
        self.note(f"{title}: {describe(record, epochs)}")

    def download(self, done: int, total: int | None) -> None:
        self._update("download", "downloading", done, total or done, f"{done / 1e6:.0f} MB")

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def reporter() -> Lines:
    """Returns a bar where the user watches, and lines where a file or another program does."""
    return Bar() if sys.stderr.isatty() else Lines()


def describe(record: EpochRecord, epochs: int) -> str:
    """Describes one epoch in a line."""
    accuracy = "" if record.accuracy is None else f", train accuracy {100 * record.accuracy:.2f} %"
    pace = record.images / max(record.seconds, 1e-9)
    took = f"{record.seconds:.1f} s ({pace:,.0f} images/s)"
    return f"epoch {record.epoch}/{epochs}, loss {record.loss:.4f}{accuracy}, {took}"


def clock(seconds: float) -> str:
    """Returns a time as people say it: '45 s', '12 min' or '3 h 05 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
