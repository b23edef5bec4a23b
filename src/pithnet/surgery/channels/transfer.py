"""The table that says, for each kind of operation, where channels go; a kind without a line is a barrier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pithnet.surgery.channels import arithmetic, layers, moves, picking, products, shapes
from pithnet.surgery.channels.step import Step
from pithnet.surgery.graph.operation import Kind

Transfer = Callable[[Step], Any]

TRANSFERS: dict[Kind, Transfer] = {
    Kind.CONVOLUTION: layers.convolution,
    Kind.TRANSPOSED_CONVOLUTION: layers.convolution,
    Kind.LINEAR: layers.linear,
    Kind.EMBEDDING: layers.embedding,
    Kind.BATCH_NORM: layers.channel_norm,
    Kind.INSTANCE_NORM: layers.channel_norm,
    Kind.GROUP_NORM: layers.group_norm,
    Kind.LAYER_NORM: layers.layer_norm,
    Kind.RMS_NORM: layers.layer_norm,
    **dict.fromkeys((Kind.RELU, Kind.LEAKY_RELU, Kind.ACTIVATION), arithmetic.activation),
    **dict.fromkeys(
        (Kind.ADD, Kind.SUBTRACT, Kind.MULTIPLY, Kind.DIVIDE, Kind.ELEMENTWISE, Kind.COMPARE),
        arithmetic.elementwise,
    ),
    **dict.fromkeys(
        (Kind.IDENTITY, Kind.DROPOUT, Kind.COPY, Kind.ROUNDING),
        arithmetic.unchanged,
    ),
    Kind.CAST: arithmetic.cast,
    Kind.SOFTMAX: arithmetic.softmax,
    Kind.LOCAL_NORM: arithmetic.normalized,
    Kind.GATE: arithmetic.gated,
    Kind.MATMUL: products.matmul,
    Kind.ADD_MATMUL: products.added,
    Kind.CONTRACTION: products.einsum,
    Kind.ATTENTION: products.attention,
    **dict.fromkeys((Kind.MEAN, Kind.SUM, Kind.REDUCTION), arithmetic.reduced),
    **dict.fromkeys((Kind.MAX_POOL, Kind.AVERAGE_POOL, Kind.RESIZE), arithmetic.pooled),
    Kind.PAD: moves.padded,
    Kind.CONCATENATE: moves.concatenated,
    Kind.STACK: moves.concatenated,
    Kind.SPLIT: moves.split,
    Kind.SLICE: picking.picked,
    Kind.RESHAPE: shapes.reshaped,
    Kind.PERMUTE: moves.permuted,
    Kind.CHANNEL_SHUFFLE: moves.channels_shuffled,
    Kind.PIXEL_SHUFFLE: moves.pixels_shuffled,
    Kind.EXPAND: shapes.expanded,
}
