"""Layers as parts that are rounded one by one, and their levels as a file keeps them."""

from __future__ import annotations

import math

from torch import Tensor

from pithnet.passes.ptq.rate.matrices import Matrix
from pithnet.passes.ptq.rate.outcome import Stored
from pithnet.passes.ptq.rate.rounding import Part
from pithnet.surgery import Weighted
from pithnet.tensor.quantizers import from_rows, to_rows
from pithnet.tensor.quantizers.base import short
from pithnet.tensor.rate_distortion.contexts import Neighbours

_GROUPS = 32  # above, and where a group has one output, the inputs of all groups count as alike
_UNKNOWN = 1.0  # of the mean: what a row or column counts for beside what a few batches say of it


def parts_of(
    weight: Tensor, hessian: Tensor, metric: Tensor, kept: Tensor | None, neighbours: Neighbours
) -> list[Part]:
    """Returns the parts of a layer, in the order of its outputs.

    Args:
        weight: (G, O, K), what the weights should be.
        hessian: (G, K, K).
        metric: (G O, G O).
        kept: Booleans (G, O, K), or None.
        neighbours: Of the columns.
    """
    groups, outputs = weight.shape[:2]
    if groups > 1 and (groups > _GROUPS or outputs == 1):
        return [_alike(weight, hessian, metric, kept, neighbours)]
    blocks = metric.unflatten(0, (groups, -1)).unflatten(2, (groups, -1))
    return [
        Part(weight[g], hessian[g], blocks[g, :, g], neighbours, None if kept is None else kept[g])
        for g in range(groups)
    ]


def _alike(
    weight: Tensor, hessian: Tensor, metric: Tensor, kept: Tensor | None, neighbours: Neighbours
) -> Part:
    """Returns one part for all groups: their inputs differ in strength, and otherwise by nothing."""
    strength = hessian.diagonal(dim1=1, dim2=2).mean(1)
    shape = (hessian / strength[:, None, None]).mean(0)
    importance = metric.diagonal() * strength.repeat_interleave(weight.shape[1])
    return Part(
        weight.flatten(0, 1), shape, importance, neighbours, None if kept is None else kept.flatten(0, 1)
    )


def weight_part(layer: Weighted, squares: Tensor, kept: Tensor | None) -> Part:
    """Returns the part of a weight whose inputs cannot be looked at: an embedding's, an attention's.

    Args:
        layer: The weight.
        squares: What a squared error of each weight costs, as a few batches say.
        kept: Where the weight is not zero.
    """
    rows, costs = (to_rows(t.detach(), "channel", axes=layer.channel_axes) for t in (layer.weight, squares))
    mean = costs.mean().clamp(min=1e-30)
    columns = (costs.mean(0) / mean + _UNKNOWN) / (1 + _UNKNOWN)
    importance = costs.mean(1) + _UNKNOWN * mean
    size = rows.shape[1]
    width = layer.weight.shape[-1] if layer.channel_axes == (0,) else 1
    return Part(
        rows,
        columns.diag(),
        importance,
        Neighbours.of_kernels(size, 1, width, rows.device),
        None if kept is None else to_rows(kept, "channel", axes=layer.channel_axes),
    )


def stored_rows(layer: Weighted, levels: Tensor, steps: Tensor, kept: Tensor | None) -> Stored:
    """Returns a weight from the levels of its channels, int64 (C, M), and their steps (C,)."""
    scale = short(steps)
    scale = scale[:1] if bool((scale == scale[0]).all()) else scale
    values = levels * scale[:, None]
    return Stored(from_rows(values, layer.weight, layer.channel_axes), scale, int(levels.abs().max()), kept)


def stored_matrix(
    matrix: Matrix, levels: Tensor, steps: Tensor, scales: str, kept: Tensor | None
) -> tuple[Stored, Tensor]:
    """Returns a layer's weight as a file keeps it, and how much larger its rows should be, (C,).

    Args:
        matrix: The layer.
        levels: int64 (G, O, K).
        steps: (G, O).
        scales: "free" where rows may be of any size, and get a power of two as their step; "stored" where
            they have one each if they differ, or "none".
        kept: Where the weight is not zero.
    """
    rows = steps.flatten()
    if scales == "free":
        scale = rows.new_tensor([2.0 ** round(math.log2(float(rows.median())))])
    else:
        scale = short(rows)
        scale = scale[:1] if bool((scale == scale[0]).all()) else scale
    own = scale.expand_as(rows) if len(scale) == 1 else scale
    weight = matrix.weight(levels * own.view(*steps.shape, 1))
    return Stored(weight, scale, int(levels.abs().max()), kept), rows / own
