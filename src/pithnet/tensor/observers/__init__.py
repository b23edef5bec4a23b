"""Observers: they see batches of activations one after the other and say which range to tell apart."""

from pithnet.tensor.observers.base import Observer
from pithnet.tensor.observers.extremes import MinMax, MovingAverage
from pithnet.tensor.observers.histograms import BINS, Entropy, HistogramMSE, Percentile
from pithnet.tensor.observers.registry import OBSERVERS, get_observer

__all__ = [
    "BINS",
    "OBSERVERS",
    "Entropy",
    "HistogramMSE",
    "MinMax",
    "MovingAverage",
    "Observer",
    "Percentile",
    "get_observer",
]
