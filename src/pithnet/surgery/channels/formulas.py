"""Whole numbers that a forward computes with its sizes, as functions of which channels are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pithnet.surgery.channels.symbols import lean, varying


@dataclass(frozen=True, eq=False)
class Extent:
    """The size of a tensor along an axis: at how many places there is a channel.

    Attributes:
        symbols: The tensor's symbols.
        axis: The axis.
    """

    symbols: Tensor
    axis: int


@dataclass(frozen=True, eq=False)
class Computed:
    """A number that is computed from others.

    Attributes:
        function: What computes it.
        args: What it is given: numbers, or formulas of them.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]


Formula = int | float | Tensor | Extent | Computed  # a Tensor counts the channels in it, int64 (size,)


@dataclass(frozen=True, eq=False)
class Written:
    """A number in the code of a forward that has to fit to the channels.

    Attributes:
        found: What the code says without a change.
        needed: What it has to say.
        inferred: Whether -1 may stand there instead.
    """

    found: Formula
    needed: Formula
    inferred: bool = False


def extents(formula: Any) -> Iterator[Extent]:
    """Yields the sizes that a formula depends on."""
    if isinstance(formula, Extent):
        yield formula
    elif isinstance(formula, Computed):
        for part in formula.args:
            yield from extents(part)


def settled(formula: Any, numbers: Tensor) -> Formula:
    """Returns a formula of channels in place of one of symbols.

    Args:
        formula: The formula.
        numbers: The channel of each symbol, int64.
    """
    if isinstance(formula, Computed):
        return Computed(formula.function, tuple(settled(part, numbers) for part in formula.args))
    if not isinstance(formula, Extent):
        found: Formula = formula
        return found
    size = formula.symbols.shape[formula.axis]
    channels = numbers[lean(formula.symbols)[0]]
    if formula.axis not in varying(channels):
        return size
    for other in reversed(range(channels.ndim)):
        if other != formula.axis:
            channels = channels.select(other, 0)
    return channels


def evaluated(formula: Formula, gone: Tensor) -> Any:
    """Returns the number that a settled formula gives without some channels.

    Args:
        formula: What `settled` gives.
        gone: Whether each channel is gone, bool.
    """
    if isinstance(formula, Tensor):
        return int((~gone[formula]).sum())
    if isinstance(formula, Computed):
        return formula.function(*(evaluated(part, gone) for part in formula.args))
    return formula
