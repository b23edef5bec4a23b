"""Chance that repeats: in a block the global generators start from a seed, and after it are as before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, number: int = 0, batches: object = None) -> Iterator[None]:
    """Makes global random numbers a function of (seed, number) within, and restores them afterwards.

    So the order of a shuffled DataLoader, augmentation in its data set and dropout repeat, and the caller's
    own random numbers are not disturbed: torch (CPU and CUDA), numpy and `random`.

    Args:
        seed: Any integer.
        number: Tells blocks of one seed apart, such as the epoch's.
        batches: A loader whose own generator, and its sampler's, are seeded too, if it has any.
    """
    mixed = (seed * 1_000_003 + number + 1) % (2**63 - 1)
    sampler = getattr(batches, "sampler", None)
    own = {id(g): g for g in (getattr(holder, "generator", None) for holder in (batches, sampler))}
    generators = [g for g in own.values() if isinstance(g, torch.Generator)]
    states = [g.get_state() for g in generators]
    others = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is what user code draws from
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        try:
            torch.manual_seed(mixed)
            random.seed(mixed)
            np.random.seed(mixed % 2**32)  # noqa: NPY002
            for g in generators:
                g.manual_seed(mixed)
            yield
        finally:
            random.setstate(others[0])
            np.random.set_state(others[1])  # noqa: NPY002
            for g, state in zip(generators, states, strict=True):
                g.set_state(state)
