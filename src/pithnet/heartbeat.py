"""A sign of life from work that takes long: a line on stderr every ten seconds, and none in the first ten.

Short work stays silent. Steps nest, and the line is about the innermost: what it is, how much of it is done,
and how long the whole has taken. Any room may use it; the lines come from a thread, so that one long call
between two steps cannot keep them back.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SECONDS = 10.0


class Step:
    """A piece of work, and how much of it is done.

    Args:
        what: The work, as its line begins.
        total: How many units there are to do, None where not known.
        units: What is counted.
    """

    def __init__(self, what: str, total: int | None, units: str) -> None:
        self.what, self.done, self.total, self.units = what, 0, total, units

    def advance(self, count: int = 1) -> None:
        """Counts so many more units as done."""
        self.done += count

    def tell(self, what: str, done: int, total: int, units: str) -> None:
        """Goes on with the step as another one.

        Args:
            what: The work, as its line begins from now on.
            done: How many units of it are done.
            total: How many there are to do.
            units: What is counted.
        """
        self.what, self.done, self.total, self.units = what, done, total, units

    def __str__(self) -> str:
        done = "" if self.total is None else f": {self.done:,} of {self.total:,} {self.units}".rstrip()
        return self.what + done


class _Pulse(threading.Thread):
    """A thread that prints the innermost of its steps every SECONDS, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(name="pithnet-heartbeat", daemon=True)
        self.steps: list[Step] = []
        self._end = threading.Event()

    def run(self) -> None:
        start = time.monotonic()
        while not self._end.wait(SECONDS):
            steps = self.steps[:]
            if steps:
                passed = f"{time.monotonic() - start:.0f} s"
                print(f"pithnet: {steps[-1]}, {passed}", file=sys.stderr, flush=True)

    def stop(self) -> None:
        self._end.set()
        self.join()


_pulse: ContextVar[_Pulse | None] = ContextVar("pulse", default=None)


@contextmanager
def working(what: str, total: int | None = None, units: str = "") -> Iterator[Step]:
    """Makes a step of the block; its lines begin when the outermost step has taken SECONDS.

    Args:
        what: The work, as its line begins ("encode").
        total: How many units there are to do; count them by the step's `advance`.
        units: What is counted ("weights").

    Yields:
        The step.
    """
    step, pulse = Step(what, total, units), _pulse.get()
    if pulse is not None:
        pulse.steps.append(step)
        try:
            yield step
        finally:
            pulse.steps.remove(step)
        return
    pulse = _Pulse()
    pulse.steps.append(step)
    token = _pulse.set(pulse)
    pulse.start()
    try:
        yield step
    finally:
        _pulse.reset(token)
        pulse.stop()
