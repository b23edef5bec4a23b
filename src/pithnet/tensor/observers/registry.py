"""Observers by name. A new observer is a class and a line in the list; the law test finds it."""

from __future__ import annotations

from pithnet.errors import RecipeError, lookup
from pithnet.tensor.observers.base import Observer
from pithnet.tensor.observers.extremes import MinMax, MovingAverage
from pithnet.tensor.observers.histograms import Entropy, HistogramMSE, Percentile

_FAMILY: tuple[type[Observer], ...] = (MinMax, MovingAverage, Percentile, HistogramMSE, Entropy)
OBSERVERS: dict[str, type[Observer]] = {kind.name: kind for kind in _FAMILY}


def get_observer(name: str, bits: int = 8) -> Observer:
    """Returns a new observer.

    Args:
        name: A key of OBSERVERS.
        bits: What the range is for.

    Raises:
        RecipeError: The name is unknown; the message says the nearest ones.
    """
    return lookup("observer", name, OBSERVERS, RecipeError)(bits)
