"""How the channels of a network are scored: by which criterion, of which numbers, and with which data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError, RecipeError, lookup, require_known
from pithnet.learn import Loss
from pithnet.passes.evidence import require_batches
from pithnet.passes.shrinking.changes import changes
from pithnet.passes.shrinking.members import Member, each_key, filters, scales, slices, tensor_at
from pithnet.surgery import Channels, Group
from pithnet.tensor import AGGREGATIONS, CHANNEL_CRITERIA, ChannelCriterion


@dataclass(frozen=True)
class Ranking:
    """What makes scores of channels.

    Attributes:
        criterion: A name in `tensor.CHANNEL_CRITERIA`.
        aggregation: A name in `tensor.AGGREGATIONS`, how what a channel has in several layers is added up.
        consumers: Whether the weights that read a channel count beside those that make it.
        seed: Of the criterion's random numbers.
        batches: What a criterion that looks at data reads, as `prune` takes it.
        loss: `(outputs, targets) -> scalar`; the cross-entropy of labels where None.
    """

    criterion: str = "l1"
    aggregation: str = "mean"
    consumers: bool = False
    seed: int = 0
    batches: Any = None
    loss: Loss | None = None

    def check(self) -> ChannelCriterion:
        """Returns the criterion, where all that it needs is there.

        Raises:
            RecipeError: The criterion or the aggregation is unknown, or the criterion looks at data and there
                is none.
        """
        criterion = lookup("criterion", self.criterion, CHANNEL_CRITERIA, RecipeError)
        require_known("aggregation", self.aggregation, AGGREGATIONS, RecipeError)
        require_batches(criterion, self.batches)
        return criterion

    def members(self, model: nn.Module, channels: Channels, group: Group) -> list[Member]:
        """Returns where the numbers of a group's channels lie that the criterion reads; they may be none.

        Args:
            model: The network.
            channels: All its channels.
            group: Those that are meant.
        """
        if self.check().reads == "scale":
            return scales(model, channels, group)
        read = slices(model, channels, group) if self.consumers else []
        return [*filters(channels, group), *read]

    def scores(self, model: nn.Module, channels: Channels, groups: Sequence[Group]) -> list[Tensor]:
        """Returns the scores of each group's channels, float64 (channels,), in the order of the channels.

        Args:
            model: The network, which is left alone.
            channels: All its channels.
            groups: Those that are ranked; each has members.

        Raises:
            RecipeError: As `check`.
            DataError: The batches cannot be used, or have no labels where there is no `loss`.
            ModelError: A weight or a gradient holds NaN or inf, or no gradient arrives at a weight; the
                message names it.
        """
        criterion = self.check()
        if not groups:
            return []
        members = [self.members(model, channels, group) for group in groups]
        for key in each_key(members):
            if not bool(torch.isfinite(tensor_at(model, key)).all()):
                raise ModelError(f"{key} holds NaN or inf; train or export the model again")
        if criterion.needs_batches:
            read = changes(model, criterion, members, self.batches, self.loss)
        else:
            read = [[m.rows(tensor_at(model, m.place.key)).cpu().double() for m in own] for own in members]
        generator = torch.Generator().manual_seed(self.seed)
        return [criterion(own, generator, self.aggregation) for own in read]
