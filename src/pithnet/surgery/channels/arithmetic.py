"""Where channels go in operations that compute with numbers at the same place, or with their neighbours."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, spread, varying, vector

_BY_PLACE = ("tril", "triu")
_REDUCTIONS = ("mean", "nanmean", "sum", "nansum", "amax", "amin")


def elementwise(step: Step) -> Tensor:
    """Lets the channels that meet go together; one channel that meets many stays."""
    shape, given = step.value.shape, step.given
    if step.called in _BY_PLACE and varying(given[0]):
        raise Blocked("depends on the place of a channel")
    if any(torch.broadcast_shapes(symbols.shape, shape) != shape for symbols in given):
        raise Blocked("gives another shape")
    axes = {axis + len(shape) - symbols.ndim for symbols in given for axis in varying(symbols)}
    if len(axes) > 1:
        raise Blocked("spreads channels along several axes")
    _require_scalars(step, axes)
    meeting = []
    for symbols in given:
        whole = symbols[(None,) * (len(shape) - symbols.ndim)]
        if any(whole.shape[axis] == 1 < shape[axis] for axis in axes):
            step.book.freeze(symbols, f"{step.node.name} spreads it over other channels")
        else:
            meeting.append(whole.expand(shape))
    for symbols in meeting[1:]:
        step.book.merge(meeting[0], symbols)
    return meeting[0]


def _require_scalars(step: Step, axes: set[int]) -> None:
    """Refuses constants that have a number for each channel, as an argument of the step."""
    rest = [step.values[node] for node in step.node.all_input_nodes if node not in step.marks]
    for value in (value for value in rest if isinstance(value, Tensor)):
        places = [axis - step.value.ndim + value.ndim for axis in axes]
        if any(place >= 0 and value.shape[place] > 1 for place in places):
            raise Blocked("meets a constant for each channel")


def activation(step: Step) -> Tensor:
    """Passes channels on; a PReLU with a slope for each channel loses those."""
    module = step.module
    if isinstance(module, nn.PReLU) and module.num_parameters > 1:
        channels = vector(step.only, 1)
        step.lies("weight", 0, channels)
        step.counts("num_parameters", channels)
    return elementwise(step)


def unchanged(step: Step) -> Tensor:
    """Passes channels on, of tensors of any nesting."""
    return step.only


def softmax(step: Step) -> Tensor:
    """Passes channels on, unless it is taken over them."""
    module = step.module
    dim = step.argument(1, "dim") if module is None else getattr(module, "dim", -3)
    if dim is None or dim % step.only.ndim in varying(step.only):
        raise Blocked("is taken over all channels together")
    return step.only


def reduced(step: Step) -> Tensor:
    """Passes channels on from a mean, a sum or an extreme over other axes."""
    if step.called not in _REDUCTIONS or not isinstance(step.value, Tensor):
        raise Blocked("is an operation that no rule is known for")
    symbols, dims = step.only, step.argument(1, "dim")
    if dims is None and step.value.ndim:
        raise Blocked("is an operation that no rule is known for")
    given = range(symbols.ndim) if dims is None else [dims] if isinstance(dims, int) else dims
    axes = [axis % symbols.ndim for axis in given]
    if set(axes) & set(varying(symbols)):
        raise Blocked("adds up all channels")
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
