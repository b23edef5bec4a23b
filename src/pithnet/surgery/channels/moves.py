"""Where channels go in operations that only move, pick or put together numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pithnet.surgery.channels.formulas import Extent
from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, Size, spread, varying, vector
from pithnet.surgery.graph.inputs import tensors
from pithnet.surgery.graph.tracing import WITHIN

_CHUNKS = ("chunk", "tensor_split", "unsafe_chunk")
_SPLITS = ("split", "split_with_sizes", "unsafe_split")


def kept_whole(before: Tensor, after: Tensor) -> bool:
    """Tells whether all channels are there, in the same order, along some axis."""
    was, now = varying(before), varying(after)
    if not was:
        return True
    if was == now and before.shape == after.shape:
        return torch.equal(before, after)
    return len(was) == len(now) == 1 and torch.equal(vector(before, was[0]), vector(after, now[0]))


def permuted(step: Step) -> Any:
    """Moves the symbols, but for shifts by numbers of channels that are built in."""
    after = step.moved()
    if step.called in ("roll", "rot90") and not kept_whole(step.only, after):
        raise Blocked("has the number of channels built in")
    return after


def taken_apart(step: Step, symbols: Tensor, axis: int) -> Tensor:
    """Returns symbols that may be taken apart along an axis by counting channels, or lie along others.

    Of several axes the last is the size of a head, which stays as it is.
    """
    axes = varying(symbols)
    if axis not in axes or len(axes) == 1:
        return symbols
    return step.book.pinned(symbols, axis) if axis == max(axes) else step.book.straight(symbols, axis)


def split(step: Step) -> Any:
    """Moves the symbols; parts of one size lose channels at the same places, others are counted."""
    before = step.only
    axis = _split_axis(step, before)
    if step.called == "unbind" and axis in varying(before):
        if len(varying(before)) == 1:
            raise Blocked("takes channels apart")
        before = step.book.pinned(before, axis)
    before = taken_apart(step, before, axis)
    parts = list(tensors(step.moved_from(before)))
    if axis not in varying(before):
        return tuple(parts)
    if step.called not in (*_CHUNKS, *_SPLITS):
        raise Blocked("takes channels apart")
    sizes = step.raw(1, {"chunk": "chunks"}.get(step.called, "split_size_or_sections"))
    if isinstance(sizes, tuple | list):
        if step.called in _CHUNKS:
            raise Blocked("splits channels at computed places")
        for place, part in enumerate(parts):
            step.writes(1, "split_size_or_sections", (place,), Extent(part, axis))
    elif sizes is None or any(part.shape != parts[0].shape for part in parts):
        raise Blocked("splits channels into parts of several sizes")
    else:
        for part in parts[1:]:
            step.book.merge(part, parts[0])
        if step.called not in _CHUNKS:
            step.writes(1, "split_size_or_sections", (), Extent(parts[0], axis))
    return tuple(parts)


def _split_axis(step: Step, symbols: Tensor) -> int:
    place = 1 if step.called == "unbind" else 2
    return int(step.argument(place, "dim") or 0) % symbols.ndim


def concatenated(step: Step) -> Tensor:
    """Puts the symbols together; along another axis than the channels' they go together."""
    after: Tensor = step.moved()
    axes = {axis for given in step.given for axis in varying(given)}
    dim = step.argument(1, "dim") or 0
    if after.ndim == step.given[0].ndim:
        if dim % after.ndim not in axes and axes:
            return step.book.pinned(after, dim % after.ndim) if dim % after.ndim in varying(after) else after
        if len(axes) > 1:
            return _of_several(step, after, axes, dim % after.ndim)
        return after
    if dim % after.ndim in varying(after):
        after = step.book.pinned(after, dim % after.ndim)
    return after


def _of_several(step: Step, after: Tensor, axes: set[int], dim: int) -> Tensor:
    """Puts channels together along one of several axes on which they lie; the last is a head's size."""
    if any(set(varying(given)) not in (set(), axes) and len(varying(given)) != 1 for given in step.given):
        raise Blocked("puts channels together along several axes")
    if dim == max(axes):
        return step.book.pinned(after, dim)
    return step.book.straight(after, dim)


def channels_shuffled(step: Step) -> Tensor:
    """Moves the symbols; all groups lose the channels at the same places."""
    module = step.module
    groups = int(module.groups) if module is not None else int(step.argument(1, "groups"))  # type: ignore[arg-type]
    rows = step.book.along(step.only, 1).view(groups, -1)
    step.book.merge(rows, rows[:1])
    shuffled = rows.T.flatten()
    return spread(shuffled, 1, step.value.shape)


def pixels_shuffled(step: Step) -> Tensor:
    """Moves the symbols; channels that become pixels of one channel go together."""
    after: Tensor = step.moved()
    return step.book.straight(after, after.ndim - 3)


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
            _count_new(step, 2 * (symbols.ndim - 1 - axis) + side, amounts, parts[-1])
    channels = torch.cat([parts[0], step.book.along(symbols, axis), parts[1]])
    shape = list(symbols.shape)
    shape[axis] = len(channels)
    return spread(channels, axis, shape)


def _count_new(step: Step, place: int, amounts: tuple[int, int], new: Tensor) -> None:
    """Notes where a number of new channels stands: in the module around it, or in the code."""
    known = vars(step.within)
    if (known.get("before"), known.get("after")) == amounts:
        step.book.counts(Size(str(step.node.meta[WITHIN]), ("before", "after")[place % 2]), new)
        return
    amount = step.raw(1, "pad")
    is_number = isinstance(amount, tuple | list) and isinstance(amount[place], int)
    if step.module is not None or not is_number or step.argument(2, "mode") not in (None, "constant"):
        raise Blocked("adds channels by numbers that are built in")
    step.writes(1, "pad", (place,), Extent(new, 0))
