"""Channels that become zero, more and more of them, while a training runs, and are cut at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from pithnet.errors import RecipeError, lookup
from pithnet.passes.file_size import Weigh
from pithnet.passes.gradual_pruning import RAMPS
from pithnet.passes.shrinking.budgets import Asked
from pithnet.passes.shrinking.candidates import plan_within, plan_without
from pithnet.passes.shrinking.choices import Rules
from pithnet.passes.shrinking.plan import ShrinkPlan
from pithnet.passes.shrinking.ranking import Ranking
from pithnet.passes.updates import Updates
from pithnet.surgery import mask_channels_


class GradualShrinking:
    """Takes more and more channels out of the forward while a training runs.

    Over the first `ramp` of the training the removed amount rises `updates` times, from nothing to the
    budget. A channel that went stays zero: in filters, biases, norms and the weights that read it.

    Args:
        model: The network, changed in place.
        example: Inputs, as `plan_shrink` takes them.
        asked: The budget at the end of the ramp.
        ranking: What makes the scores, at every update anew.
        rules: What widths are allowed.
        weigh: Gives the bytes of a network.
        ramp: The share of the training, in [0, 1].
        schedule: A name in `RAMPS`, how the removed amount rises.
        updates: How often it does; 1 or more.

    Attributes:
        plan: Which channels are gone so far, None before the first update.

    Raises:
        RecipeError: The budget, the criterion or the schedule is unknown or makes no sense; nothing has
            changed then.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Any,
        *,
        asked: Asked,
        ranking: Ranking,
        rules: Rules,
        weigh: Weigh,
        ramp: float,
        schedule: str = "cubic",
        updates: int = 10,
    ) -> None:
        asked.check()
        ranking.check()
        self._shape = lookup("schedule", schedule, RAMPS, RecipeError)
        if asked.name == "bytes":
            asked = replace(asked, full_bytes=weigh(model))
        self.model, self.example, self.asked, self.ranking = model, example, asked, ranking
        self.rules, self.weigh, self._updates = rules, weigh, Updates(updates, ramp)
        self.plan: ShrinkPlan | None = None

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on from here."""
        removed = sorted(self.plan.removed) if self.plan else []
        return {"update": self._updates.last, "removed": removed, "full_bytes": self.asked.full_bytes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self._updates.last = state["update"]
        self.asked = replace(self.asked, full_bytes=state["full_bytes"])
        if self._updates.last >= 0:
            self.plan = plan_without(self.model, self.example, state["removed"], self.weigh)

    def __call__(self, done: float) -> None:
        """Chooses channels if it is time for it, and keeps those at zero that are gone.

        Args:
            done: The share of the training, in [0, 1].
        """
        if self._updates.due(done) or self.plan is None:
            asked = replace(self.asked, progress=self._shape(self._updates.reached))
            gone = self.plan.removed if self.plan else frozenset[int]()
            self.plan = plan_within(
                self.model, self.example, asked, self.ranking, self.rules, self.weigh, gone
            )
        mask_channels_(self.model, self.plan.channels, self.plan.removed)
