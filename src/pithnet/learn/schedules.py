"""Learning rate over a training, as a share of its maximum."""

from __future__ import annotations

import math
from collections.abc import Callable

from pithnet.errors import RecipeError, lookup


def one_cycle(done: float, warmup: float) -> float:
    """Rises linearly over the first `warmup` of the training, then falls to 0 (Smith & Topin 2018)."""
    return done / warmup if done < warmup else (1 - done) / (1 - warmup)


def cosine(done: float, warmup: float) -> float:
    """Rises linearly over `warmup`, then falls along half a cosine to 0 (Loshchilov & Hutter 2017).

    With warmup 0 this is learning-rate rewinding: the rate jumps back up and the fall is trained again
    (Renda, Frankle & Carbin 2020).
    """
    return done / warmup if done < warmup else 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def constant(done: float, warmup: float) -> float:
    """Rises linearly over `warmup`, then stays at the maximum."""
    return min(1.0, done / warmup) if warmup else 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "one-cycle": one_cycle,
    "cosine": cosine,
    "constant": constant,
}


def get_schedule(name: str) -> Callable[[float, float], float]:
    """Returns a schedule: (share of training done in [0, 1], warmup in [0, 1)) -> factor in [0, 1].

    Raises:
        RecipeError: The name is unknown.
    """
    return lookup("learning-rate schedule", name, SCHEDULES, RecipeError)
