"""Criteria for channels: a score for each, from the weights of all filters that are the channel.

A channel may have several filters, in layers whose outputs are added up. Each layer is a member, a matrix
(channels, weights of a channel in this layer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

ChannelCriterion = Callable[[Sequence[Tensor], Generator], Tensor]


def mean_magnitude(members: Sequence[Tensor], generator: Generator) -> Tensor:
    """Scores a channel by the L1 norm of its filters over the number of their weights.

    Li et al. 2017 rank the filters of one layer by their L1 norm; over the number of weights it is comparable
    between layers.

    Args:
        members: The weights, (channels, weights) for each layer.
        generator: Not used.

    Returns:
        (channels,).
    """
    return sum(m.abs().sum(1) for m in members) / _weights(members)  # type: ignore[return-value]


def root_mean_square(members: Sequence[Tensor], generator: Generator) -> Tensor:
    """Scores a channel by the L2 norm of its filters over the square root of the number of their weights.

    Args:
        members: The weights, (channels, weights) for each layer.
        generator: Not used.

    Returns:
        (channels,).
    """
    return (sum(m.square().sum(1) for m in members) / _weights(members)).sqrt()  # type: ignore[union-attr]


def random_channels(members: Sequence[Tensor], generator: Generator) -> Tensor:
    """Scores channels by chance: what every criterion has to beat.

    Args:
        members: The weights, (channels, weights) for each layer.
        generator: Where the numbers come from.

    Returns:
        (channels,), in [0, 1).
    """
    return torch.rand(len(members[0]), generator=generator, dtype=torch.float64)


def _weights(members: Sequence[Tensor]) -> int:
    return sum(m.shape[1] for m in members)


CHANNEL_CRITERIA: dict[str, ChannelCriterion] = {
    "l1": mean_magnitude,
    "l2": root_mean_square,
    "random": random_channels,
}
