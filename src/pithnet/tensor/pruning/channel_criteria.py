"""Criteria for channels: a score for each, from all filters, scales or changes of the loss that are its own.

A channel may have several filters, in layers whose outputs are added up. Each of them is a member, a matrix
(channels, numbers of a channel in this member). A criterion measures every member, an aggregation adds up
what it measured, and the criterion makes scores of the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from pithnet.errors import RecipeError, lookup, require_known
from pithnet.tensor._checks import require_finite
from pithnet.tensor.pruning.aggregations import AGGREGATIONS
from pithnet.tensor.pruning.criteria import share_of_what_is_not_smaller

READS = ("weight", "scale", "change")


def _as_measured(measured: Tensor, generator: Generator) -> Tensor:
    return measured


@dataclass(frozen=True)
class ChannelCriterion:
    """A score for channels; those of the lowest scores go.

    Attributes:
        name: What users call it.
        measure: A member (channels, numbers) -> (channels, ...): a sum over the numbers of each channel.
        score: The aggregate of what was measured, and a generator -> (channels,), floating point, >= 0.
        reads: What the numbers are: "weight", the weights of a filter; "scale", the factor of a norm; or
            "change", for each batch how much the loss changes to first order without the filter.
        zero_is_least: Whether a channel of zeros scores 0, the least there is.
    """

    name: str
    measure: Callable[[Tensor], Tensor]
    score: Callable[[Tensor, Generator], Tensor] = _as_measured
    reads: str = "weight"
    zero_is_least: bool = True

    def __post_init__(self) -> None:
        require_known("kind of numbers a channel criterion reads", self.reads, READS, RecipeError)

    @property
    def needs_batches(self) -> bool:
        """Whether it looks at what only data can tell."""
        return self.reads == "change"

    @property
    def needs_labels(self) -> bool:
        """Whether it looks at gradients of a loss, which compares outputs with labels."""
        return self.reads == "change"

    def __call__(self, members: Sequence[Tensor], generator: Generator, aggregation: str = "mean") -> Tensor:
        """Returns the scores of the channels of one group, (channels,), float32 or float64.

        Args:
            members: What the criterion reads, (channels, numbers) for each member.
            generator: Where the numbers of a criterion come from that ranks by chance.
            aggregation: A name in `AGGREGATIONS`, how members are added up.

        Raises:
            RecipeError: The aggregation is unknown.
            ModelError: A member holds NaN or inf.
        """
        add_up = lookup("aggregation", aggregation, AGGREGATIONS, RecipeError)
        for member in members:
            require_finite(member, f"{self.name}: a channel's {self.reads}")
        measured = [self.measure(member) for member in members]
        return self.score(add_up(measured, [member.shape[1] for member in members]), generator)


def magnitudes(member: Tensor) -> Tensor:
    """Returns the L1 norm of each channel's numbers, (channels,).

    Li et al. 2017 rank the filters of one layer by it; over the number of weights it is comparable between
    layers. Of the factors of batch norms it is the score of network slimming (Liu et al. 2017).

    Args:
        member: (channels, numbers).
    """
    return member.abs().sum(1)


def squares(member: Tensor) -> Tensor:
    """Returns the sum of the squares of each channel's numbers, (channels,).

    Of changes of the loss, which are the sums over a filter of gradient times weight, it is the score of
    Molchanov et al. 2019, eq. 8; its mean is over batches.

    Args:
        member: (channels, numbers).
    """
    return member.square().sum(1)


def squared_distances(member: Tensor) -> Tensor:
    """Returns the squared Euclidean distance of each channel's numbers to each other's, (channels, channels).

    Args:
        member: (channels, numbers).

    Returns:
        Float64.
    """
    rows = member.double()
    lengths = rows.square().sum(1)
    found = (lengths[:, None] + lengths - 2 * rows @ rows.T).clamp(min=0)
    return found.fill_diagonal_(0)


def root(measured: Tensor, generator: Generator) -> Tensor:
    """Returns the square root.

    Args:
        measured: Any shape, >= 0.
        generator: Not used.
    """
    return measured.sqrt()


def mean_distance(measured: Tensor, generator: Generator) -> Tensor:
    """Returns each channel's mean distance to the others, (channels,).

    The filter nearest to the geometric median of its layer has the least; others can stand in for it (FPGM,
    He et al. 2019, eq. 5-7, who take the sum, which ranks the channels of one layer alike).

    Args:
        measured: Squared distances, (channels, channels).
        generator: Not used.
    """
    return measured.sqrt().sum(1) / max(len(measured) - 1, 1)


def lamp_score(measured: Tensor, generator: Generator) -> Tensor:
    """Returns each channel's square over the sum of all squares that are not smaller, float64 (channels,).

    This is LAMP (Lee et al. 2021, eq. 3) with channels in the place of weights, and groups in that of layers:
    the largest channel of every group scores 1.

    Args:
        measured: Squared norms, (channels,).
        generator: Not used.
    """
    return share_of_what_is_not_smaller(measured)


def nothing(member: Tensor) -> Tensor:
    """Returns zeros, (channels,).

    Args:
        member: (channels, numbers).
    """
    return torch.zeros(len(member), dtype=torch.float64)


def chance(measured: Tensor, generator: Generator) -> Tensor:
    """Returns random scores in [0, 1), float64 (channels,): what every criterion has to beat.

    Args:
        measured: (channels,), not used.
        generator: Where the numbers come from.
    """
    return torch.rand(len(measured), generator=generator, dtype=torch.float64)


_FAMILY = (
    ChannelCriterion("l1", magnitudes),
    ChannelCriterion("l2", squares, root),
    ChannelCriterion("lamp", squares, lamp_score),
    ChannelCriterion("fpgm", squared_distances, mean_distance, zero_is_least=False),
    ChannelCriterion("slimming", magnitudes, reads="scale"),
    ChannelCriterion("taylor", squares, reads="change"),
    ChannelCriterion("random", nothing, chance, zero_is_least=False),
)
CHANNEL_CRITERIA: dict[str, ChannelCriterion] = {criterion.name: criterion for criterion in _FAMILY}
