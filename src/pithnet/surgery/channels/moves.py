"""Where channels go in operations that only move, pick or put together numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, Size, spread, varying, vector
from pithnet.surgery.graph.inputs import tensors
from pithnet.surgery.graph.tracing import WITHIN
from pithnet.zoo.resnet_cifar import PadShortcut

_BUILT_IN = "has the number of channels built in"


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
    free = [axis for axis in varying(after) if not _is_built_in(step, axis, after.ndim)]
    if varying(after) and not free:
        raise Blocked(_BUILT_IN)
    found = _straight(step, after, free[-1]) if free else after
    for other in step.given[1:]:  # whose shape it takes
        step.book.merge(found, other)
    return found


def _is_built_in(step: Step, axis: int, ndim: int) -> bool:
    """Tells whether the size along an axis of the result is a number in the code, not -1 nor computed."""
    name, args = step.called, step.node.args[1:]
    if isinstance(step.layer_or_none, nn.Unflatten):
        module = step.layer_or_none
        start, sizes = int(module.dim) % step.only.ndim, list(module.unflattened_size)
    elif name == "unflatten":
        start, sizes = step.argument(1, "dim") % step.only.ndim, list(step.node.args[2])  # type: ignore[arg-type]
    elif name in ("view", "reshape", "expand", "broadcast_to"):
        given = args[0] if len(args) == 1 and isinstance(args[0], tuple | list) else args
        sizes = list(given)  # type: ignore[arg-type]
        start = ndim - len(sizes)
    else:
        return False
    size = sizes[axis - start] if start <= axis < start + len(sizes) else None
    return isinstance(size, int) and size >= 0


def expanded(step: Step) -> Tensor:
    """Moves the symbols; copies along an axis are the same channel."""
    after: Tensor = step.moved()
    if any(_is_built_in(step, axis, after.ndim) for axis in varying(after)):
        raise Blocked(_BUILT_IN)
    return after


def split(step: Step) -> Any:
    """Moves the symbols; all parts of `chunk` lose the channels at the same places."""
    before, parts = step.only, list(tensors(step.moved()))
    if all(_kept_whole(before, part) for part in parts):
        return tuple(parts)
    same = all(part.shape == parts[0].shape for part in parts)
    if step.called not in ("chunk", "tensor_split", "unsafe_chunk") or not same:
        raise Blocked("splits channels by numbers that are built in")
    for part in parts[1:]:
        step.book.merge(part, parts[0])
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
    module = step.layer_or_none
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

    New channels are those of a `PadShortcut`, which knows how many there are.
    """
    symbols, amounts = step.only, _amounts(step)
    for place, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        axis = symbols.ndim - 1 - place
        if not before and not after:
            continue
        if axis in varying(symbols):
            symbols = _with_new_channels(step, symbols, axis, before, after)
        else:
            shape = list(symbols.shape)
            shape[axis] += before + after
            symbols = symbols.narrow(axis, 0, 1).expand(shape)
    return symbols


def _amounts(step: Step) -> list[int]:
    module = step.layer_or_none
    given = module.padding if module is not None else step.argument(1, "pad")
    if isinstance(given, int):
        given = [given] * 2 * (step.only.ndim - 2)
    return [int(amount) for amount in given]  # type: ignore[union-attr]


def _with_new_channels(step: Step, symbols: Tensor, axis: int, before: int, after: int) -> Tensor:
    owner = step.within
    if not isinstance(owner, PadShortcut) or (owner.before, owner.after) != (before, after):
        raise Blocked("adds channels by numbers that are built in")
    layer = str(step.node.meta[WITHIN])
    parts = []
    for attribute, amount in (("before", before), ("after", after)):
        new = step.book.fresh(amount)
        step.book.counts(Size(layer, attribute), new)
        parts.append(new)
    channels = torch.cat([parts[0], vector(symbols, axis), parts[1]])
    shape = list(symbols.shape)
    shape[axis] = len(channels)
    return spread(channels, axis, shape)
