"""Where channels go in operations that give a tensor another shape, and what sizes stand in the code."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from torch import Tensor, fx, nn

from pithnet.surgery.channels.formulas import Extent, Written, extents
from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Argument, Blocked, varying

_SIZED = ("view", "reshape", "expand", "broadcast_to", "unflatten")


def reshaped(step: Step) -> Tensor:
    """Moves the symbols; channels may come to lie along several axes.

    Which axis then keeps them apart is decided when the whole forward is known: that of the heads where
    attention follows, else one of a free size, else the last.
    """
    if isinstance(step.module, nn.Unflatten):
        raise Blocked("has the number of channels built in")
    after: Tensor = step.moved()
    for other in step.given[1:]:  # whose shape it takes
        step.book.merge(after, other)
    _note(step, after)
    return after


def expanded(step: Step) -> Tensor:
    """Moves the symbols; copies along an axis are the same channel."""
    after: Tensor = step.moved()
    _note(step, after)
    return after


def _note(step: Step, after: Tensor) -> None:
    axes = varying(after)
    literal = set()
    sizes = dict(_sizes(step, after.ndim))
    wild = any(isinstance(size, int) and size == -1 for _, size in sizes.values())
    for axis, (argument, size) in sizes.items():
        if isinstance(size, int) and size != step.value.shape[axis]:
            continue  # -1
        found = _formula(step, size)
        if isinstance(size, int):
            literal.add(axis)
        if axis in axes or any(True for _ in extents(found)):
            is_computed = isinstance(size, fx.Node)
            inferred = is_computed and not wild and step.called in ("view", "reshape")
            step.book.written[argument] = Written(found, Extent(after, axis), inferred)
            wild = wild or inferred
    if len(axes) > 1:
        free = [axis for axis in axes if axis not in literal]
        step.book.grids.append((after, (free or axes)[-1]))


def _formula(step: Step, size: Any) -> Any:
    return step.formulas.get(size, step.values[size]) if isinstance(size, fx.Node) else size


def _sizes(step: Step, ndim: int) -> Iterator[tuple[int, tuple[Argument, Any]]]:
    """Yields for each axis of the result whose size stands in the code where it stands, and the size."""
    if step.called not in _SIZED or step.module is not None:
        return
    first = 2 if step.called == "unflatten" else 1
    given = step.node.args[first:]
    if not given:
        raise Blocked("is given its sizes by name")
    if len(given) == 1 and isinstance(given[0], fx.Node) and not isinstance(step.values[given[0]], int):
        yield from _appended(given[0], ndim)
        return
    together = len(given) == 1 and isinstance(given[0], tuple | list)
    sizes: Any = given[0] if together else given
    start = ndim - len(sizes)
    if step.called == "unflatten":
        dim = step.argument(1, "dim")
        start = dim % (ndim - len(sizes) + 1)
    for place, size in enumerate(sizes):
        path = (first, place) if together else (first + place,)
        yield start + place, (Argument(step.node.name, path), size)


def _appended(node: fx.Node, ndim: int) -> Iterator[tuple[int, tuple[Argument, Any]]]:
    """Yields the sizes that are put behind those of another tensor, as in x.size()[:-1] + (64,)."""
    more = node.args[1] if node.target is operator.add and len(node.args) == 2 else None
    for place, size in enumerate(more if isinstance(more, tuple | list) else ()):
        yield ndim - len(more) + place, (Argument(node.name, (1, place)), size)  # type: ignore[arg-type]
