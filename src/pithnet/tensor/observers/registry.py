"""Observers by name. A new one: a class, a line in the list; the law test finds it."""

from __future__ import annotations

from pithnet.errors import RecipeError, lookup
from pithnet.tensor.observers.base import Observer
from pithnet.tensor.observers.extremes import MinMax, MovingAverage
from pithnet.tensor.observers.histograms import Entropy, HistogramMSE, Percentile

_FAMILY: tuple[type[Observer], ...] = (MinMax, MovingAverage, Percentile, HistogramMSE, Entropy)
OBSERVERS: dict[str, type[Observer]] = {kind.name: kind for kind in _FAMILY}


def get_observer(name: str, bits: int = 8) -> Observer:
    """A new observer of that name; RecipeError with the nearest names if there is none."""
    return lookup("observer", name, OBSERVERS, RecipeError)(bits)
