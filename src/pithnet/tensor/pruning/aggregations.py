"""How what a criterion measured of a channel's members becomes one: the filters of layers that are added up.

The names are those of DepGraph (Fang et al. 2023). Each function takes what was measured, a tensor of one
shape for each member, and how many numbers of a channel each member has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Aggregation = Callable[[Sequence[Tensor], Sequence[int]], Tensor]


def mean(measured: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Returns the mean over all numbers of a channel, whichever members they are in.

    Args:
        measured: Sums over the numbers of a channel, one tensor for each member.
        sizes: How many numbers of a channel each member has.
    """
    return total(measured, sizes) / sum(sizes)


def total(measured: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Returns the sum over all numbers of a channel: wide layers, and shared channels, count for more.

    Args:
        measured: Sums over the numbers of a channel, one tensor for each member.
        sizes: Not used.
    """
    found = measured[0]
    for more in measured[1:]:
        found = found + more
    return found


def largest_mean(measured: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Returns the largest of the members' means: a channel stays for the sake of one layer.

    Args:
        measured: Sums over the numbers of a channel, one tensor for each member.
        sizes: How many numbers of a channel each member has.
    """
    return torch.stack([found / size for found, size in zip(measured, sizes, strict=True)]).amax(0)


def first_mean(measured: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Returns the mean of the first member: the layer that makes the channel before others add to it.

    Args:
        measured: Sums over the numbers of a channel, one tensor for each member.
        sizes: How many numbers of a channel each member has.
    """
    return measured[0] / sizes[0]


AGGREGATIONS: dict[str, Aggregation] = {
    "mean": mean,
    "sum": total,
    "max": largest_mean,
    "first": first_mean,
}
