"""How long a batch takes, measured for all contenders in turn: what slows the machine slows them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pithnet.deploy.runtimes import Floats, Runner

MIN_ROUNDS = 7
_SLICE_SECONDS = 0.02
_CALM_SECONDS = 0.01


@dataclass(frozen=True)
class Contender:
    """What is timed: a runner for a number of threads, made when it is needed, and its input (C, H, W)."""

    name: str
    shape: tuple[int, ...]
    runner: Callable[[int], Runner]


@dataclass(frozen=True)
class Timing:
    """Milliseconds a batch takes: the median over the rounds, and the middle half of them."""

    median: float
    low: float
    high: float
    rounds: int


def time_in_turn(contenders: Sequence[Contender], batch: int, threads: int, seconds: float) -> list[Timing]:
    """Times every contender in every round, for about `seconds` in all but at least MIN_ROUNDS rounds.

    A round takes them in random order; it calls each once untimed (caches and threads wake), then often
    enough to fill a slice of 20 ms. The numbers of a batch are normal, seeded. Afterwards the process has as
    many threads of PyTorch as before.
    """
    own_threads = torch.get_num_threads()
    try:
        return _in_turn(contenders, batch, threads, seconds)
    finally:
        torch.set_num_threads(own_threads)


def _in_turn(contenders: Sequence[Contender], batch: int, threads: int, seconds: float) -> list[Timing]:
    rng = np.random.default_rng(0)
    inputs = {c.shape: rng.standard_normal((batch, *c.shape), dtype=np.float32) for c in contenders}
    runners = [c.runner(threads) for c in contenders]
    data = [inputs[c.shape] for c in contenders]
    for run, x in zip(runners, data, strict=True):
        run(x)
    calls = [_calls(run, x) for run, x in zip(runners, data, strict=True)]
    times: list[list[float]] = [[] for _ in contenders]
    end = time.perf_counter() + seconds
    while len(times[0]) < MIN_ROUNDS or time.perf_counter() < end:
        for i in rng.permutation(len(runners)):  # nobody always comes after the same other
            time.sleep(_CALM_SECONDS)  # the last contender's threads spin for a while before they sleep
            times[i].append(_timed(runners[i], data[i], calls[i]))
    return [_timing(t) for t in times]


def _calls(run: Runner, x: Floats) -> int:
    return max(1, math.ceil(_SLICE_SECONDS / max(_timed(run, x, 1), 1e-6)))


def _timed(run: Runner, x: Floats, calls: int) -> float:
    """Seconds per call."""
    if calls > 1:
        run(x)
    start = time.perf_counter()
    for _ in range(calls):
        run(x)
    return (time.perf_counter() - start) / calls


def _timing(seconds: Sequence[float]) -> Timing:
    low, median, high = (1000 * float(v) for v in np.quantile(seconds, (0.25, 0.5, 0.75)))
    return Timing(median, low, high, len(seconds))
