"""Which weights share a step: a weight seen as rows, one row for each step."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pithnet.errors import RecipeError, nearest

GRANULARITIES = ("tensor", "channel", "group")
GROUP_SIZE = 64


def require_granularity(granularity: str, group_size: int = GROUP_SIZE) -> None:
    """Raises RecipeError for an unknown granularity, and for groups of fewer than two weights."""
    if granularity not in GRANULARITIES:
        raise RecipeError(f"unknown granularity {granularity!r}.{nearest(granularity, GRANULARITIES)}")
    if group_size < 2:
        raise RecipeError(f"group_size is {group_size}: a group shares a step, so it has two weights or more")


def to_rows(weight: Tensor, granularity: str, group_size: int = GROUP_SIZE) -> Tensor:
    """(R, M): a row for the whole "tensor", for each "channel", or for each "group" of a channel.

    A channel is an entry of the first axis, a group `group_size` neighbouring weights; the last group of a
    channel is filled up with zeros.

    Raises RecipeError as `require_granularity`.
    """
    require_granularity(granularity, group_size)
    if granularity == "tensor" or weight.ndim < 2:
        return weight.reshape(1, -1)
    rows = weight.flatten(1)
    if granularity == "channel":
        return rows
    return F.pad(rows, (0, -rows.shape[1] % group_size)).reshape(-1, group_size)


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """The weight, of the shape of `like`, whose rows these are: `to_rows` backwards."""
    if rows.numel() == like.numel():
        return rows.reshape(like.shape)
    return rows.reshape(len(like), -1)[:, : like[0].numel()].reshape(like.shape)
