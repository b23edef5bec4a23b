"""Where channels go in operations that compute with numbers at the same place, or with their neighbours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from torch import Tensor, fx, nn

from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, spread, varying, vector

_BY_PLACE = ("tril", "triu")
_REDUCTIONS = ("mean", "nanmean", "sum", "nansum", "amax", "amin")


def elementwise(step: Step) -> Tensor:
    """Lets the channels that meet go together; one channel that meets many stays.

    Where channels lie along several axes, as those of heads do, what differs along an axis on which it meets
    constants goes together: the size of a head stays.
    """
    shape = step.value.shape
    if step.called in _BY_PLACE and set(varying(step.given[0])) & {len(shape) - 1, len(shape) - 2}:
        raise Blocked("depends on the place of a channel")
    if not all(_fits(symbols.shape, shape) for symbols in step.given):
        raise Blocked("gives another shape")
    parts = [_whole(symbols, shape) for symbols in step.given]
    owns = [varying(part) for part in parts]
    axes = {axis for own in owns for axis in own}
    if len(axes) > 1 and all(set(own) != axes for own in owns):
        raise Blocked("spreads channels along several axes")
    rest = [node for node in step.node.all_input_nodes if node not in step.marks]
    constants = [node for node in rest if isinstance(step.values[node], Tensor)]
    if constants:
        parts = _with_constants(step, parts, constants)
        owns = [varying(part) for part in parts]
    return _met(step, parts, owns, shape)


def _fits(given: Sequence[int], shape: Sequence[int]) -> bool:
    """Tells whether a tensor that is spread to another shape keeps the sizes that are not 1."""
    pairs = zip(reversed(given), reversed(shape), strict=False)
    return len(given) <= len(shape) and all(size in (1, found) for size, found in pairs)


def _whole(symbols: Tensor, shape: Sequence[int]) -> Tensor:
    return symbols[(None,) * (len(shape) - symbols.ndim)]


def _axes(parts: Iterable[Tensor]) -> set[int]:
    return {axis for part in parts for axis in varying(part)}


def _with_constants(step: Step, parts: list[Tensor], constants: Sequence[fx.Node]) -> list[Tensor]:
    """Adds the symbols of constants that have a number for each channel."""
    shape = step.value.shape
    for node in constants:
        value = step.values[node]
        many = [axis for axis, size in enumerate(_whole(value, shape).shape) if size > 1]
        for axis in sorted(_axes(parts) & set(many), reverse=True):
            if len(_axes(parts)) > 1 and axis == max(_axes(parts)):
                parts = [step.book.pinned(part, axis) for part in parts]
                continue
            own = step.constant_along(node, axis - len(shape) + value.ndim)
            parts = [step.book.straight(part, axis) for part in parts]
            parts.append(spread(own, axis, shape))
    return parts


def _met(step: Step, parts: list[Tensor], owns: list[list[int]], shape: Sequence[int]) -> Tensor:
    axes = {axis for own in owns for axis in own}
    meeting = list[tuple[int, Tensor]]()
    for part, own in zip(parts, owns, strict=True):
        if not own and any(part.shape[axis] == 1 < shape[axis] for axis in axes):
            step.book.freeze(part, f"{step.node.name} spreads it over other channels")
        else:
            meeting.append((len(own) or len(shape) + 1, part.expand(tuple(shape))))
    for _, part in meeting[1:]:
        step.book.merge(meeting[0][1], part)
    return min(meeting, key=lambda pair: pair[0])[1]


def over(step: Step, symbols: Tensor, dims: Iterable[int], refusal: str) -> Tensor:
    """Passes channels on, of an operation that takes all numbers along some axes together.

    Where channels lie along other axes too, those along these go together, so that none of them can go.

    Args:
        step: The step.
        symbols: The symbols of what it is given.
        dims: The axes.
        refusal: Why no channel can go where they lie along these axes alone.

    Raises:
        Blocked: They do.
    """
    for axis in sorted({dim % symbols.ndim for dim in dims}, reverse=True):
        axes = varying(symbols)
        if axis in axes:
            if len(axes) == 1:
                raise Blocked(refusal)
            symbols = step.book.pinned(symbols, axis)
    return symbols


def activation(step: Step) -> Tensor:
    """Passes channels on; a PReLU with a slope for each channel loses those."""
    module = step.module
    if isinstance(module, nn.PReLU) and module.num_parameters > 1:
        channels = step.book.along(step.only, 1)
        step.lies("weight", 0, channels)
        step.counts("num_parameters", channels)
    elif step.called == "prelu" and step.values[step.node.all_input_nodes[1]].numel() > 1:
        step.lies("weight", 0, step.book.along(step.only, 1))
        return step.only
    elif len(step.node.all_input_nodes) == 1:
        return step.only
    return elementwise(step)


def unchanged(step: Step) -> Tensor:
    """Passes channels on, of tensors of any nesting."""
    return step.only


def cast(step: Step) -> Tensor:
    """Passes channels on; of another tensor that it is given a cast reads the type alone."""
    found = step.marks.get(step.node.all_input_nodes[0])
    if not isinstance(found, Tensor):
        raise Blocked("takes several inputs")
    return found


def softmax(step: Step) -> Tensor:
    """Passes channels on, unless it is taken over them."""
    module = step.module
    dim = step.argument(1, "dim") if module is None else getattr(module, "dim", -3)
    dims = range(step.only.ndim) if dim is None else [dim]
    return over(step, step.only, dims, "is taken over all channels together")


def normalized(step: Step) -> Tensor:
    """Passes channels on where the length of vectors that hold none of them apart is made one."""
    if step.called != "normalize":
        raise Blocked("is an operation that no rule is known for")
    dim = step.argument(2, "dim")
    return over(step, step.only, [1 if dim is None else dim], "normalises over all channels together")


def gated(step: Step) -> Tensor:
    """Lets a half of the channels go with the half that gates it."""
    dim = getattr(step.module, "dim", None) if step.module is not None else step.argument(1, "dim")
    axis = (-1 if dim is None else dim) % step.only.ndim
    symbols = step.only
    if axis in varying(symbols):
        symbols = step.book.straight(symbols, axis)
    half, gate = symbols.chunk(2, axis)
    step.book.merge(half, gate)
    return half


def reduced(step: Step) -> Tensor:
    """Passes channels on from a mean, a sum or an extreme over other axes."""
    if step.called not in _REDUCTIONS or not isinstance(step.value, Tensor):
        raise Blocked("is an operation that no rule is known for")
    symbols, dims = step.only, step.argument(1, "dim")
    if dims is None and step.value.ndim:
        raise Blocked("is an operation that no rule is known for")
    given = range(symbols.ndim) if dims is None else [dims] if isinstance(dims, int) else dims
    axes = [axis % symbols.ndim for axis in given]
    symbols = over(step, symbols, axes, "adds up all channels")
    for axis in sorted(axes, reverse=True):
        symbols = symbols.narrow(axis, 0, 1)
    return symbols.reshape(step.value.shape)


def pooled(step: Step) -> Tensor:
    """Passes channels on to another number of pixels."""
    if not isinstance(step.value, Tensor):
        raise Blocked("gives indices, too")
    found = re.search(r"(\d)d", step.called)
    pixels = int(found[1]) if found else step.value.ndim - 2
    axes = varying(step.only)
    if any(axis >= step.value.ndim - pixels for axis in axes) or len(axes) > 1:
        raise Blocked("takes channels for pixels")
    axis = axes[0] if axes else step.value.ndim - pixels - 1
    return spread(vector(step.only, axis), axis, step.value.shape)
