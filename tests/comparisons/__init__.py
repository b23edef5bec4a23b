"""What is trained or optimised, compared with what is not: each comparison once, for tests and a script.

A comparison is a function of a seed, which draws the network, the samples and the batches, and gives values
with bounds they should stay below. Tests run it on few seeds and look at the mean; `sensitive.py` runs it on
more seeds, with one thread and with two, and prints how far from its bound every value stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from statistics import fmean


@dataclass(frozen=True)
class Value:
    """A number that should be below its bound: most often what is left of an error, as a share."""

    name: str
    value: float
    bound: float


Comparison = Callable[[int], Iterator[Value]]
COMPARISONS: dict[str, Comparison] = {}


def comparison(function: Comparison) -> Comparison:
    """Lists a function of a seed under its name."""
    COMPARISONS[function.__name__] = function
    return function


def means(function: Comparison, seeds: int) -> Iterator[Value]:
    """Each value's mean over the seeds 0, 1, ..."""
    for values in zip(*(list(function(seed)) for seed in range(seeds)), strict=True):
        yield Value(values[0].name, fmean(v.value for v in values), values[0].bound)


def assert_below(function: Comparison, seeds: int = 1) -> None:
    """Every value of the comparison, as its mean over the seeds, is below its bound."""
    for found in means(function, seeds):
        assert found.value < found.bound, found


def load_all() -> None:
    """Fills COMPARISONS with those of every module of this package."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
