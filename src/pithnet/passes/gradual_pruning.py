"""Pruning that rises over a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pithnet.errors import RecipeError, lookup, require_known
from pithnet.learn import Loss
from pithnet.passes.evidence import require_repeatable
from pithnet.passes.granularities import get_granularity
from pithnet.passes.layers import refuse_coded, selected_layers
from pithnet.passes.prune import layer_shares, mask_rows, prune
from pithnet.passes.records import Record
from pithnet.passes.scopes import SCOPES
from pithnet.passes.updates import Updates
from pithnet.surgery import Mask, parametrization
from pithnet.tensor import get_criterion


def cubic(progress: float) -> float:
    """Returns 1 - (1 - t)^3: fast while much is redundant, slow at the end (Zhu & Gupta 2017, eq. 1)."""
    return 1 - (1 - progress) ** 3


def linear(progress: float) -> float:
    """Returns t."""
    return progress


RAMPS: dict[str, Callable[[float], float]] = {"cubic": cubic, "linear": linear}


class GradualPruning:
    """Prunes while a training runs; hand it to `Trainer(before_step=...)`.

    Over the first `ramp` of the training the sparsity rises `updates` times, from what the model's masks have
    to `sparsity`; masks are recoverable until the last of these, and final afterwards.

    Args:
        model: Masked in place.
        sparsity: Share of zeros at the end of the ramp, in [0, 1].
        ramp: Share of the training, in [0, 1].
        schedule: A name in RAMPS, how the sparsity rises.
        updates: How often it does; 1 or more.
        scope: As `prune`'s.
        criterion: As `prune`'s.
        granularity: As `prune`'s, but for N:M, which has one sparsity and cannot rise.
        overrides: As `prune`'s; these shares rise from none with the others.
        batches: As `prune`'s, and read anew at every update: a few batches in a list are enough.
        loss: As `prune`'s.
        skip: As `prune`'s.
        also: As `prune`'s.
        seed: The random criterion's: the same scores at every update, so that masks grow.

    Raises:
        RecipeError: An argument is wrong, as `prune` says; or the schedule is unknown, the ramp outside
            [0, 1], updates below 1, or the granularity N:M. Nothing has changed then.
        DataError: The criterion needs batches, and these come only once or lack labels.
        ModelError: A layer cannot be pruned, as `selected_layers` says.
    """

    def __init__(
        self,
        model: nn.Module,
        sparsity: float,
        *,
        ramp: float,
        schedule: str = "cubic",
        updates: int = 40,
        scope: str = "global",
        criterion: str = "magnitude",
        granularity: str = "weight",
        overrides: Mapping[str, float] | None = None,
        batches: Iterable[Any] | None = None,
        loss: Loss | None = None,
        skip: Sequence[str] = (),
        also: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        shape = lookup("pruning schedule", schedule, RAMPS, RecipeError)
        if not 0 <= sparsity <= 1:
            raise RecipeError(f"sparsity is a share of the weights, from 0 to 1, not {sparsity}")
        if not 0 <= ramp <= 1:
            raise RecipeError(f"ramp is a share of the training, from 0 to 1, not {ramp}")
        self._updates = Updates(updates, ramp)
        require_known("pruning scope", scope, SCOPES, RecipeError)
        self._unit = get_granularity(granularity)
        if not self._unit.rises:
            raise RecipeError(f"granularity {granularity!r} has one sparsity and cannot rise; prune at once")
        require_repeatable(get_criterion(criterion), batches, loss)
        self.overrides = dict(overrides or {})
        chosen = selected_layers(model, skip, also)
        layer_shares(chosen, self.overrides, self._unit)
        refuse_coded(chosen)
        self.model, self.sparsity, self.shape = model, sparsity, shape
        self.scope, self.criterion, self.granularity, self.seed = scope, criterion, granularity, seed
        self.batches, self.loss, self.skip, self.also = batches, loss, skip, also
        self._start = self._masked().sparsity
        if not any(parametrization(layer, Mask) for _, layer in selected_layers(model, skip, also)):
            prune(model, 0.0, skip=skip, also=also, recoverable=True)

    @property
    def record(self) -> Record | None:
        """What has been pruned so far, None before the first update."""
        return self._masked() if self._updates.last >= 0 else None

    def _masked(self) -> Record:
        rows = mask_rows(selected_layers(self.model, self.skip, self.also), self._unit)
        return Record.of(self.model, f"prune {self._unit.title(self.scope, self.sparsity)}", rows, self.skip)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on from here."""
        return {"update": self._updates.last, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self._updates.last, self._start = state["update"], state.get("start", 0.0)

    def __call__(self, done: float) -> None:
        """Prunes if it is time for it; done is the share of the training, in [0, 1]."""
        if not self._updates.due(done):
            return
        progress = self.shape(self._updates.reached)
        prune(
            self.model,
            self._start + (self.sparsity - self._start) * progress if progress < 1 else self.sparsity,
            scope=self.scope,
            criterion=self.criterion,
            granularity=self.granularity,
            overrides={pattern: share * progress for pattern, share in self.overrides.items()},
            batches=self.batches,
            loss=self.loss,
            skip=self.skip,
            recoverable=self._updates.reached < 1,
            generator=torch.Generator().manual_seed(self.seed),
        )
