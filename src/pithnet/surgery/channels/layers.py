"""Where channels go in layers of weights and in norms."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, spread, varying, vector
from pithnet.surgery.graph.lookup import modules_of
from pithnet.surgery.graph.operation import Kind


def convolution(step: Step) -> Tensor:
    """Takes one filter for each output channel and a slice of every filter for each input channel.

    A filter of a depthwise convolution goes with its input channel. Other groups stay as many as they are:
    all lose the channels at the same places.
    """
    module: _ConvNd = step.layer(*modules_of(Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION))
    axis = step.value.ndim - module.weight.ndim + 1
    ins = vector(step.only, axis)
    out_axis, in_axis = (1, 0) if module.transposed else (0, 1)
    if module.groups == 1:
        outs = step.book.fresh(module.out_channels)
        step.lies("weight", out_axis, outs, makes=True)
        step.lies("weight", in_axis, ins)
    elif module.groups == module.in_channels:
        outs = _depthwise(step, module, ins)
    else:
        outs = _in_groups(step, module, ins)
    step.lies("bias", 0, outs)
    step.counts("out_channels", outs)
    step.counts("in_channels", ins)
    return spread(outs, axis, step.value.shape)


def _depthwise(step: Step, module: _ConvNd, ins: Tensor) -> Tensor:
    outs = ins.repeat_interleave(module.out_channels // module.groups)
    step.lies("weight", 0, ins if module.transposed else outs, makes=True)
    step.counts("groups", ins)
    return outs


def _in_groups(step: Step, module: _ConvNd, ins: Tensor) -> Tensor:
    groups, outs = module.groups, step.book.fresh(module.out_channels)
    for symbols in (ins.view(groups, -1), outs.view(groups, -1)):
        step.book.merge(symbols, symbols[:1])
    if module.transposed:
        step.lies("weight", 0, ins)
        step.lies("weight", 1, outs[: len(outs) // groups], makes=True)
    else:
        step.lies("weight", 0, outs, makes=True)
        step.lies("weight", 1, ins[: len(ins) // groups])
    return outs


def linear(step: Step) -> Tensor:
    """Takes a row of the weight for each output, a column for each input."""
    module = step.layer(nn.Linear)
    ins, outs = vector(step.only, -1), step.book.fresh(module.out_features)
    step.lies("weight", 0, outs, makes=True)
    step.lies("weight", 1, ins)
    step.lies("bias", 0, outs)
    step.counts("in_features", ins)
    step.counts("out_features", outs)
    return spread(outs, step.value.ndim - 1, step.value.shape)


def embedding(step: Step) -> Tensor:
    """Takes a column of the table for each channel."""
    module = step.layer(nn.Embedding)
    if module.max_norm is not None:
        raise Blocked("rescales its weight over all channels (max_norm)")
    outs = step.book.fresh(module.embedding_dim)
    step.lies("weight", 1, outs, makes=True)
    step.counts("embedding_dim", outs)
    return spread(outs, step.value.ndim - 1, step.value.shape)


def channel_norm(step: Step) -> Tensor:
    """Takes the statistics and the affine numbers of each channel (BN, instance norm)."""
    module: _NormBase = step.layer(*modules_of(Kind.BATCH_NORM, Kind.INSTANCE_NORM))
    symbols = step.only
    unbatched = isinstance(module, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d) and (
        symbols.ndim == module._get_no_batch_dim()
    )
    channels = vector(symbols, 0 if unbatched else 1)
    for tensor in ("weight", "bias", "running_mean", "running_var"):
        step.lies(tensor, 0, channels)
    step.counts("num_features", channels)
    return symbols


def group_norm(step: Step) -> Tensor:
    """Takes whole groups, because a group's numbers share their mean and variance."""
    module = step.layer(nn.GroupNorm)
    channels = vector(step.only, 1)
    rows = channels.view(module.num_groups, -1)
    step.book.merge(rows, rows[:, :1])
    step.lies("weight", 0, channels)
    step.lies("bias", 0, channels)
    step.counts("num_channels", channels)
    step.counts("num_groups", rows[:, 0])
    return step.only


def layer_norm(step: Step) -> Tensor:
    """Takes nothing of what it normalises over: every number there counts in mean and variance."""
    module = step.layer(nn.LayerNorm, nn.RMSNorm)
    over = range(step.value.ndim - len(module.normalized_shape), step.value.ndim)
    if set(varying(step.only)) & set(over):
        raise Blocked("normalises over all channels together")
    return step.only
