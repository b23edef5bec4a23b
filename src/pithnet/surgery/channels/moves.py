"""Where channels go in operations that only move, pick or put together numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Argument, Blocked, Size, spread, varying, vector
from pithnet.surgery.graph.inputs import tensors
from pithnet.surgery.graph.tracing import WITHIN

_BUILT_IN = "has the number of channels built in"
_CHUNKS = ("chunk", "tensor_split", "unsafe_chunk")
_SPLITS = ("split", "split_with_sizes", "unsafe_split")


def _straight(step: Step, symbols: Tensor, axis: int) -> Tensor:
    """Lets channels lie along one axis alone: what differs along others goes together.

    Channels that go then leave a tensor that still has a shape.
    """
    across = [other for other in varying(symbols) if other != axis]
    first = symbols
    for other in across:
        first = first.narrow(other, 0, 1)
    step.book.merge(symbols, first.expand_as(symbols))
    return first.expand_as(symbols)


def _kept_whole(before: Tensor, after: Tensor) -> bool:
    """Tells whether all channels are there, in the same order, along some axis."""
    was, now = varying(before), varying(after)
    if not was:
        return True
    return len(was) == len(now) == 1 and torch.equal(vector(before, was[0]), vector(after, now[0]))


def permuted(step: Step) -> Any:
    """Moves the symbols, but for shifts by numbers of channels that are built in."""
    after = step.moved()
    if step.called in ("roll", "rot90") and not _kept_whole(step.only, after):
        raise Blocked(_BUILT_IN)
    return after


def picked(step: Step) -> Any:
    """Moves the symbols; a part of the channels is picked by numbers that are built in."""
    before = step.marks.get(step.node.all_input_nodes[0])
    if not isinstance(before, Tensor):
        return step.moved()  # one of several tensors
    if len(step.given) != 1:
        raise Blocked("picks by what it computes")
    after = step.moved()
    if not _kept_whole(before, after):
        raise Blocked("picks channels by numbers that are built in")
    return after


def reshaped(step: Step) -> Tensor:
    """Moves the symbols; where channels come to lie along several axes, one with a free size keeps them."""
    after: Tensor = step.moved()
    axes = varying(after)
    if not axes:
        return after
    free = [axis for axis in axes if _literal(step, axis, after.ndim) is None]
    axis = (free or axes)[-1]
    found = _straight(step, after, axis)
    for other in step.given[1:]:  # whose shape it takes
        step.book.merge(found, other)
    _count(step, _literal(step, axis, after.ndim), vector(found, axis))
    return found


def _count(step: Step, argument: Argument | None, symbols: Tensor) -> None:
    if argument is not None:
        step.book.counts(argument, symbols)


def _literal(step: Step, axis: int, ndim: int) -> Argument | None:
    """Returns the number in the code that is the size along an axis of the result, None where it is free."""
    if step.called not in ("view", "reshape", "expand", "broadcast_to"):
        if step.called.lower() == "unflatten":
            raise Blocked(_BUILT_IN)
        return None
    given = step.node.args[1:]
    together = len(given) == 1 and isinstance(given[0], tuple | list)
    sizes = step.argument(1, "shape") if together else list(given)
    if not sizes:
        raise Blocked("is given its sizes by name")
    place = axis - ndim + len(sizes)
    found = step.literal(1, "shape", place) if together else step.literal(1 + place, "")
    return found if found is not None and step.value.shape[axis] == sizes[place] else None


def expanded(step: Step) -> Tensor:
    """Moves the symbols; copies along an axis are the same channel."""
    after: Tensor = step.moved()
    for axis in varying(after):
        _count(step, _literal(step, axis, after.ndim), vector(after, axis))
    return after


def split(step: Step) -> Any:
    """Moves the symbols; parts of one size lose channels at the same places, others are counted."""
    before, parts = step.only, list(tensors(step.moved()))
    if all(_kept_whole(before, part) for part in parts):
        return tuple(parts)
    if step.called not in (*_CHUNKS, *_SPLITS):
        raise Blocked("takes channels apart")
    sizes = step.node.args[1] if len(step.node.args) > 1 else None
    (axis,) = varying(before)
    if isinstance(sizes, tuple | list):
        if step.called in _CHUNKS or not all(isinstance(size, int) for size in sizes):
            raise Blocked("splits channels at computed places")
        for place, part in enumerate(parts):
            _count(step, step.literal(1, "", place), vector(part, axis))
    elif sizes is None or any(part.shape != parts[0].shape for part in parts):
        raise Blocked("splits channels into parts of several sizes")
    else:
        for part in parts[1:]:
            step.book.merge(part, parts[0])
        _count(step, None if step.called in _CHUNKS else step.literal(1, ""), vector(parts[0], axis))
    return tuple(parts)


def concatenated(step: Step) -> Tensor:
    """Puts the symbols together; along another axis than the channels' they go together."""
    after: Tensor = step.moved()
    axes = {axis for given in step.given for axis in varying(given)}
    if len(varying(after)) > 1:
        if len(axes) > 1:
            raise Blocked("puts channels together along several axes")
        axis = axes.pop()
        after = _straight(step, after, axis + (after.ndim > step.given[0].ndim and axis >= _dim(step, after)))
    return after


def _dim(step: Step, after: Tensor) -> int:
    found: int = step.argument(1, "dim") or 0
    return found % after.ndim


def channels_shuffled(step: Step) -> Tensor:
    """Moves the symbols; all groups lose the channels at the same places."""
    module = step.module
    groups = int(module.groups) if module is not None else int(step.argument(1, "groups"))  # type: ignore[arg-type]
    rows = vector(step.only, 1).view(groups, -1)
    step.book.merge(rows, rows[:1])
    shuffled = rows.T.flatten()
    return spread(shuffled, 1, step.value.shape)


def pixels_shuffled(step: Step) -> Tensor:
    """Moves the symbols; channels that become pixels of one channel go together."""
    after: Tensor = step.moved()
    return _straight(step, after, after.ndim - 3)


def padded(step: Step) -> Tensor:
    """Copies the symbols along axes on which no channels lie; new channels get symbols of their own.

    How many new channels there are is counted: by attributes `before` and `after` of the module in
    whose forward it stands, as the zoo's shortcuts have them, or by numbers in the code.
    """
    symbols, amounts = step.only, _amounts(step)
    for place, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        axis = symbols.ndim - 1 - place
        if not before and not after:
            continue
        if axis in varying(symbols):
            symbols = _with_new_channels(step, symbols, axis, (before, after))
        else:
            shape = list(symbols.shape)
            shape[axis] += before + after
            symbols = symbols.narrow(axis, 0, 1).expand(shape)
    return symbols


def _amounts(step: Step) -> list[int]:
    module = step.module
    given = module.padding if module is not None else step.argument(1, "pad")
    if isinstance(given, int):
        given = [given] * 2 * (step.only.ndim - 2)
    return [int(amount) for amount in given]  # type: ignore[union-attr]


def _with_new_channels(step: Step, symbols: Tensor, axis: int, amounts: tuple[int, int]) -> Tensor:
    if min(amounts) < 0:
        raise Blocked("takes channels off by numbers that are built in")
    parts = []
    for side, amount in enumerate(amounts):
        parts.append(step.book.fresh(amount))
        if amount:
            step.book.counts(_amount(step, 2 * (symbols.ndim - 1 - axis) + side, amounts), parts[-1])
    channels = torch.cat([parts[0], vector(symbols, axis), parts[1]])
    shape = list(symbols.shape)
    shape[axis] = len(channels)
    return spread(channels, axis, shape)


def _amount(step: Step, place: int, amounts: tuple[int, int]) -> Size | Argument:
    """Returns where a number of new channels stands: in the module around it, or in the code."""
    known = vars(step.within)
    if (known.get("before"), known.get("after")) == amounts:
        return Size(str(step.node.meta[WITHIN]), ("before", "after")[place % 2])
    found = step.literal(1, "pad", place) if step.module is None else None
    if found is None or step.argument(2, "mode") not in (None, "constant"):
        raise Blocked("adds channels by numbers that are built in")
    return found
