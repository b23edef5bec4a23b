"""Where channels go in operations that pick numbers by their places."""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor, fx

from pithnet.surgery.channels.formulas import Computed, Extent
from pithnet.surgery.channels.moves import kept_whole, taken_apart
from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, varying


def picked(step: Step) -> Any:
    """Moves the symbols; the first and the last channel of a slice are counted.

    Where channels lie along several axes, an axis along which one place is picked keeps its size.
    """
    node = step.node.all_input_nodes[0]
    before = step.marks.get(node)
    if not isinstance(before, Tensor):
        return step.moved()  # one of several tensors
    if len(step.given) != 1:
        raise Blocked("picks by what it computes")
    if step.called in ("getitem", "__getitem__"):
        before = _sliced(step, before)
    elif step.called in ("narrow", "select"):
        before = _narrowed(step, before)
    after = step.moved_from(before)
    if step.called not in ("getitem", "__getitem__", "narrow") and not kept_whole(before, after):
        raise Blocked("picks channels by numbers that are built in")
    return after


def _sliced(step: Step, symbols: Tensor) -> Tensor:
    """Returns the symbols of a tensor that an index takes apart, once the numbers in it are counted."""
    index = step.raw(1, "index")
    places = index if isinstance(index, tuple) else (index,)
    taken = sum(1 for part in places if part is not None and part is not Ellipsis)
    axis = 0
    for place, part in enumerate(places):
        if part is Ellipsis:
            axis += symbols.ndim - taken
        elif part is not None:
            path = (place,) if isinstance(index, tuple) else ()
            symbols = _one_part(step, symbols, axis, part, path)
            axis += 1
    return symbols


def _one_part(step: Step, symbols: Tensor, axis: int, part: Any, path: tuple[int | str, ...]) -> Tensor:
    if axis not in varying(symbols) or part == slice(None):
        return symbols
    if isinstance(part, slice):
        symbols = taken_apart(step, symbols, axis)
        if axis in varying(symbols):
            _count(step, symbols, axis, part, path)
        return symbols
    if isinstance(part, int) and len(varying(symbols)) > 1:
        return step.book.pinned(symbols, axis)
    raise Blocked("picks channels by numbers that are built in")


def _count(step: Step, symbols: Tensor, axis: int, part: slice, path: tuple[int | str, ...]) -> None:
    if part.step not in (None, 1):
        raise Blocked("picks channels by numbers that are built in")
    size = symbols.shape[axis]
    for name in ("start", "stop"):
        bound: Any = getattr(part, name)
        value = step.values[bound] if isinstance(bound, fx.Node) else bound
        if bound is None or (name == "stop" and value >= size):
            continue
        before = Extent(symbols.narrow(axis, 0, value % size if value < 0 else value), axis)
        from_end = Computed(operator.add, (Extent(symbols, axis), value)) if value < 0 else None
        step.writes(1, "index", (*path, name), before, from_end)


def _narrowed(step: Step, symbols: Tensor) -> Tensor:
    axis = int(step.argument(1, "dim")) % symbols.ndim
    if axis not in varying(symbols):
        return symbols
    if step.called == "select":
        return _one_part(step, symbols, axis, step.argument(2, "index"), ())
    symbols = taken_apart(step, symbols, axis)
    start, length = int(step.argument(2, "start")), int(step.argument(3, "length"))
    if axis in varying(symbols):
        if start < 0:
            raise Blocked("picks channels by numbers that are built in")
        step.writes(2, "start", (), Extent(symbols.narrow(axis, 0, start), axis))
        step.writes(3, "length", (), Extent(symbols.narrow(axis, start, length), axis))
    return symbols
