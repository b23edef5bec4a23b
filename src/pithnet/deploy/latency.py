"""The time that a batch takes, for all contenders in turn: what slows the machine slows them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pithnet.deploy.runtimes import Array, Runner, Taken
from pithnet.errors import ModelError

MIN_ROUNDS = 7
_SLICE_SECONDS = 0.02
_CALM_SECONDS = 0.01
_TRIED = 5


@dataclass(frozen=True)
class Contender:
    """Something to be timed.

    Attributes:
        name: What tables call it.
        shape: (C, H, W) of float32 images, or the inputs one by one, as `OnnxSession.inputs` says them.
        runner: Makes a runner for a number of threads, when it is needed.
    """

    name: str
    shape: tuple[int, ...] | tuple[Taken, ...]
    runner: Callable[[int], Runner]

    @property
    def taken(self) -> tuple[Taken, ...]:
        """Returns what it takes, input by input."""
        inputs = tuple(i for i in self.shape if isinstance(i, Taken))
        lengths = tuple(n for n in self.shape if isinstance(n, int))
        return inputs or (Taken("input", np.dtype(np.float32), lengths),)


@dataclass(frozen=True)
class Timing:
    """The milliseconds that a batch takes.

    Attributes:
        median: The median over the rounds.
        low: The lower end of the middle half of the rounds.
        high: Its upper end.
        rounds: Number of rounds.
    """

    median: float
    low: float
    high: float
    rounds: int


def time_in_turn(contenders: Sequence[Contender], batch: int, threads: int, seconds: float) -> list[Timing]:
    """Times every contender in every round.

    A round takes them in random order; it calls each once untimed (caches and threads wake), then often
    enough to fill a slice of 20 ms. The numbers of a batch are normal, seeded; integers are 0 or 1, which any
    vocabulary has. Afterwards the process has as many threads of PyTorch as before.

    Args:
        contenders: What to time.
        batch: Samples per batch.
        threads: Threads of each runner.
        seconds: About how long to measure in all; there are at least MIN_ROUNDS rounds.

    Returns:
        A timing for each contender, in their order.

    Raises:
        ModelError: An input has an axis of any length.
    """
    own_threads = torch.get_num_threads()
    try:
        return _in_turn(contenders, batch, threads, seconds)
    finally:
        torch.set_num_threads(own_threads)


def _in_turn(contenders: Sequence[Contender], batch: int, threads: int, seconds: float) -> list[Timing]:
    rng = np.random.default_rng(0)
    inputs = {c.shape: _drawn(c, batch, rng) for c in contenders}
    runners = [c.runner(threads) for c in contenders]
    data = [inputs[c.shape] for c in contenders]
    for run, x in zip(runners, data, strict=True):
        run(*x)
    calls = [_calls(run, x) for run, x in zip(runners, data, strict=True)]
    times: list[list[float]] = [[] for _ in contenders]
    end = time.perf_counter() + seconds
    while len(times[0]) < MIN_ROUNDS or time.perf_counter() < end:
        for i in rng.permutation(len(runners)):  # nobody always comes after the same other
            time.sleep(_CALM_SECONDS)  # the last contender's threads spin for a while before they sleep
            times[i].append(_timed(runners[i], data[i], calls[i]))
    return [_timing(t) for t in times]


def _drawn(contender: Contender, batch: int, rng: np.random.Generator) -> list[Array]:
    """Returns a batch of what a contender takes."""
    drawn: list[Array] = []
    for taken in contender.taken:
        if -1 in taken.shape:
            raise ModelError(f"{contender.name} takes {taken}; lengths have to be known for a timing")
        shape = (batch, *taken.shape)
        floats = np.issubdtype(taken.dtype, np.floating)
        drawn.append(
            (rng.standard_normal(shape) if floats else rng.integers(0, 2, shape)).astype(taken.dtype)
        )
    return drawn


def _calls(run: Runner, x: Sequence[Array]) -> int:
    # One call may have waited for other processes: too few calls a slice would be timed, with cold caches.
    fastest = min(_timed(run, x, 1) for _ in range(_TRIED))
    return max(1, math.ceil(_SLICE_SECONDS / max(fastest, 1e-6)))


def _timed(run: Runner, x: Sequence[Array], calls: int) -> float:
    """Returns the seconds per call."""
    if calls > 1:
        run(*x)
    start = time.perf_counter()
    for _ in range(calls):
        run(*x)
    return (time.perf_counter() - start) / calls


def _timing(seconds: Sequence[float]) -> Timing:
    low, median, high = (1000 * float(v) for v in np.quantile(seconds, (0.25, 0.5, 0.75)))
    return Timing(median, low, high, len(seconds))
