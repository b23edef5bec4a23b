"""Where channels go in layers of weights and in norms, be they modules or functions."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pithnet.surgery.channels.arithmetic import over
from pithnet.surgery.channels.formulas import Extent
from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, spread, varying
from pithnet.surgery.graph.lookup import modules_of
from pithnet.surgery.graph.operation import Kind


def convolution(step: Step) -> Tensor:
    """Takes one filter for each output channel and a slice of every filter for each input channel.

    A filter of a depthwise convolution goes with its input channel. Other groups stay as many as they are:
    all lose the channels at the same places.
    """
    layer = step.layer(*modules_of(Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION))
    axis = step.value.ndim - layer.weight.ndim + 1
    ins = step.book.along(_input(step), axis)
    out_axis, in_axis = (1, 0) if layer.transposed else (0, 1)
    if layer.groups == 1:
        outs = step.book.fresh(layer.out_channels)
        step.lies("weight", out_axis, outs, makes=True)
        step.lies("weight", in_axis, ins)
    elif layer.groups == layer.in_channels:
        outs = _depthwise(step, layer, ins)
    else:
        outs = _in_groups(step, layer, ins)
    step.lies("bias", 0, outs)
    step.counts("out_channels", outs)
    step.counts("in_channels", ins)
    _multiplies(step, ins if layer.transposed else outs, layer)
    return step.gives(outs, axis)


def _input(step: Step) -> Tensor:
    """Returns the symbols of what a layer is given, apart from its weights."""
    node = step.node.args[0] if step.node.args else step.node.kwargs.get("input")
    found = step.marks.get(node)  # type: ignore[arg-type]
    if not isinstance(found, Tensor):
        raise Blocked("is given weights that are computed")
    return found


def _multiplies(step: Step, first: Tensor, layer: Any) -> None:
    """Notes that the multiply-accumulates of a function are in proportion to the numbers of its weight."""
    if step.module is not None:
        return
    node, sizes = layer.raw("weight"), list[Any](layer.weight.shape[:2])
    for symbols in step.constants.get(node, {}).values():
        for axis in set(varying(symbols)) & {0, 1}:
            sizes[axis] = Extent(symbols, axis)
    step.multiplies(*sizes)


def _depthwise(step: Step, layer: Any, ins: Tensor) -> Tensor:
    outs = ins.repeat_interleave(layer.out_channels // layer.groups)
    step.lies("weight", 0, ins if layer.transposed else outs, makes=True)
    step.counts("groups", ins)
    return outs


def _in_groups(step: Step, layer: Any, ins: Tensor) -> Tensor:
    groups, outs = layer.groups, step.book.fresh(layer.out_channels)
    for symbols in (ins.view(groups, -1), outs.view(groups, -1)):
        step.book.merge(symbols, symbols[:1])
    if layer.transposed:
        step.lies("weight", 0, ins)
        step.lies("weight", 1, outs[: len(outs) // groups], makes=True)
    else:
        step.lies("weight", 0, outs, makes=True)
        step.lies("weight", 1, ins[: len(ins) // groups])
    return outs


def linear(step: Step) -> Tensor:
    """Takes a row of the weight for each output, a column for each input."""
    layer = step.layer(nn.Linear)
    ins, outs = step.book.along(_input(step), -1), step.book.fresh(layer.out_features)
    step.lies("weight", 0, outs, makes=True)
    step.lies("weight", 1, ins)
    step.lies("bias", 0, outs)
    step.counts("in_features", ins)
    step.counts("out_features", outs)
    _multiplies(step, outs, layer)
    return step.gives(outs, step.value.ndim - 1)


def embedding(step: Step) -> Tensor:
    """Takes a column of the table for each channel; its rows stay, because inputs count them."""
    layer = step.layer(nn.Embedding)
    if layer.max_norm is not None:
        raise Blocked("rescales its weight over all channels (max_norm)")
    rows, outs = step.book.fresh(len(layer.weight)), step.book.fresh(layer.embedding_dim)
    step.book.freeze(rows, f"{step.node.target} looks up its rows by their numbers")
    step.lies("weight", 0, rows)
    step.lies("weight", 1, outs, makes=True)
    step.counts("embedding_dim", outs)
    return step.gives(outs, step.value.ndim - 1)


def channel_norm(step: Step) -> Tensor:
    """Takes the statistics and the affine numbers of each channel (BN, instance norm)."""
    layer = step.layer(*modules_of(Kind.BATCH_NORM, Kind.INSTANCE_NORM))
    symbols = _input(step)
    unbatched = isinstance(layer, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d) and (
        symbols.ndim == layer._get_no_batch_dim()
    )
    axis = 0 if unbatched else 1
    channels = step.book.along(symbols, axis)
    for tensor in ("weight", "bias", "running_mean", "running_var"):
        step.lies(tensor, 0, channels)
    step.counts("num_features", channels)
    return spread(channels, axis, symbols.shape)


def group_norm(step: Step) -> Tensor:
    """Takes whole groups, because a group's numbers share their mean and variance."""
    layer = step.layer(nn.GroupNorm)
    channels = step.book.along(_input(step), 1)
    rows = channels.view(layer.num_groups, -1)
    if layer.num_groups == 1:
        step.book.freeze(channels, f"{_named(step)} normalises over all channels together")
    else:
        step.book.merge(rows, rows[:, :1])
    step.lies("weight", 0, channels)
    step.lies("bias", 0, channels)
    step.counts("num_channels", channels)
    step.counts("num_groups", rows[:, 0])
    return spread(channels, 1, step.value.shape)


def _named(step: Step) -> str:
    return step.node.name if step.module is None else str(step.node.target)


def layer_norm(step: Step) -> Tensor:
    """Takes nothing of what it normalises over: every number there counts in mean and variance."""
    layer = step.layer(nn.LayerNorm, nn.RMSNorm)
    dims = range(step.value.ndim - len(layer.normalized_shape), step.value.ndim)
    return over(step, _input(step), dims, "normalises over all channels together")
