"""Training with a penalty on channels until it is clear which go: group-sparse training before the cut."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.optim import Optimizer

from pithnet.errors import RecipeError
from pithnet.passes.shrinking.candidates import plan_without
from pithnet.passes.shrinking.penalties import GroupPenalty, StableChoice
from pithnet.passes.shrinking.plan import ShrinkPlan
from pithnet.passes.shrinking.shrink import plan_shrink
from pithnet.passes.updates import Updates


class ChannelSparsity:
    """A penalty that makes channels small while `model` trains, in place, before some of them go.

    Hand it to `Trainer(before_step=...)`. Over the first `until` of the training the penalty acts on every
    step, and `updates` times the channels that would go are chosen anew. At the end of that, or once the
    choice is stable, the channels chosen become zero and stay zero, so the rest of the training is that of
    the smaller network. `finish().cut()` then gives this network.

    Args:
        model: The network.
        example: Inputs, as `plan_shrink` takes them.
        kind: "group-lasso", "slimming" or "growing", as `GroupPenalty` says.
        strength: lambda, in units of the loss; of "growing" what each update adds to it.
        ceiling: Of "growing" the largest lambda.
        until: The share of the training, in (0, 1], over which the penalty acts at most.
        updates: How often channels are chosen anew within it.
        patience: After how many updates in a row that change nothing the choice is stable; None waits for
            `until`.
        **settings: The budget and all else that `plan_shrink` takes.

    Raises:
        RecipeError: A value is out of range, or the budget cannot be kept, as `plan_shrink` says.
        ModelError: The network cannot be cut, as `plan_shrink` says, or has nothing that the penalty is on.
        DataError: The criterion's batches cannot be used.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Any,
        kind: str = "group-lasso",
        *,
        strength: float,
        ceiling: float = 1.0,
        until: float = 0.5,
        updates: int = 10,
        patience: int | None = None,
        **settings: Any,
    ) -> None:
        if not 0 < until <= 1:
            raise RecipeError(f"until is a share of the training, above 0 and up to 1, not {until}")
        self.stable = None if patience is None else StableChoice(patience)
        self.model, self.example, self.settings = model, example, settings
        self.until, self._updates = until, Updates(updates, until)
        self.plan = plan_shrink(model, example, **settings)
        share = settings.get("bytes")
        if share is not None and share <= 1:  # of the bytes now, before any channel is small
            settings["bytes"] = math.floor(share * self.plan.full_bytes)
        self.penalty = GroupPenalty(self.plan, kind, strength=strength, ceiling=ceiling)

    def attach(self, optimizer: Optimizer) -> None:
        """Acts on every step of `optimizer` from now on; `Trainer` does this by itself.

        Raises:
            RecipeError: A penalised tensor is not among the optimizer's, or layers whose channels go together
                have learning rates of their own.
        """
        self.penalty.attach(optimizer)

    def __call__(self, done: float) -> None:
        """Takes in how far the training is: `done` is its share, in [0, 1].

        Raises:
            ModelError: A weight holds NaN or inf.
            DataError: The criterion's batches cannot be used.
        """
        if self.penalty.held is not None:
            return
        if done >= self.until:
            self.finish()
            return
        if not self._updates.due(done):
            return
        self.plan = plan_shrink(self.model, self.example, **self.settings)
        if self.stable is not None and self.stable(self.plan.removed):
            self.penalty.hold(self.plan.removed)
        else:
            self.penalty.grow(self.plan.removed)

    def finish(self) -> ShrinkPlan:
        """Ends the penalty, makes the channels that go zero in place, and returns the plan to cut them off.

        Called again, it only returns the plan.

        Raises:
            ModelError: A weight holds NaN or inf.
            DataError: The criterion's batches cannot be used.
        """
        if self.penalty.held is None:
            self.plan = plan_shrink(self.model, self.example, **self.settings)
            self.penalty.hold(self.plan.removed)
        return self.plan

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on."""
        stable = None if self.stable is None else self.stable.state_dict()
        kept = {"update": self._updates.last, "penalty": self.penalty.state_dict(), "stable": stable}
        return kept | {"bytes": self.settings.get("bytes")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self._updates.last = state["update"]
        self.settings["bytes"] = state["bytes"]
        self.penalty.load_state_dict(state["penalty"])
        if self.stable is not None:
            self.stable.load_state_dict(state["stable"])
        if self.penalty.held is not None:
            self.plan = plan_without(self.model, self.example, self.penalty.held, self.plan.weigh)
