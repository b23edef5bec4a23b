"""Which weights share a step: a weight seen as rows, one row for each step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from pithnet.errors import RecipeError, require_known

GRANULARITIES = ("tensor", "channel", "group")
GROUP_SIZE = 64


def require_granularity(granularity: str, group_size: int = GROUP_SIZE) -> None:
    """Checks which weights are to share a step.

    Args:
        granularity: "tensor", "channel" or "group".
        group_size: Weights per group.

    Raises:
        RecipeError: The granularity is unknown, or a group has fewer than two weights.
    """
    require_known("granularity", granularity, GRANULARITIES, RecipeError)
    if group_size < 2:
        raise RecipeError(f"group_size is {group_size}: a group shares a step, so it has two weights or more")


def to_rows(
    weight: Tensor, granularity: str, group_size: int = GROUP_SIZE, axes: Sequence[int] = (0,)
) -> Tensor:
    """Returns a weight as rows (R, M), one for each step.

    Args:
        weight: Any shape.
        granularity: A row for the whole "tensor", for each "channel", or for each "group" of a channel.
        group_size: Neighbouring weights of a channel in a group; a channel's last group is filled up with
            zeros.
        axes: A channel is an entry of these axes, in their order.

    Raises:
        RecipeError: The granularity is unknown, or a group has fewer than two weights.
    """
    require_granularity(granularity, group_size)
    if granularity == "tensor" or weight.ndim < 2:
        return weight.reshape(1, -1)
    rows = _channels_first(weight, axes).flatten(len(axes)).flatten(0, len(axes) - 1)
    if granularity == "channel":
        return rows
    return F.pad(rows, (0, -rows.shape[1] % group_size)).reshape(-1, group_size)


def from_rows(rows: Tensor, like: Tensor, axes: Sequence[int] = (0,)) -> Tensor:
    """Returns the weight whose rows these are, as `to_rows` made them.

    Args:
        rows: (R, M).
        like: A tensor of the weight's shape.
        axes: The axes of the channels, as given to `to_rows`.
    """
    whole = len(rows) == 1 or _lead(axes)
    if like.ndim < 2 or (whole and rows.numel() == like.numel()):
        return rows.reshape(like.shape)
    moved = _channels_first(like, axes)
    channels, size = math.prod(moved.shape[: len(axes)]), math.prod(moved.shape[len(axes) :])
    found = rows.reshape(channels, -1)[:, :size].reshape(moved.shape)
    return found if _lead(axes) else found.movedim(tuple(range(len(axes))), tuple(axes))


def _channels_first(weight: Tensor, axes: Sequence[int]) -> Tensor:
    """Returns the weight with the axes of the channels before the others."""
    return weight if _lead(axes) else weight.movedim(tuple(axes), tuple(range(len(axes)))).contiguous()


def _lead(axes: Sequence[int]) -> bool:
    """Tells whether these axes are the first, in order: such rows are a reshape."""
    return tuple(axes) == tuple(range(len(axes)))
