"""Pruning single weights: how many zeros each layer gets, one-shot or on a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import RecipeError, lookup, require_known
from pithnet.heartbeat import working
from pithnet.passes.guard import guarded
from pithnet.passes.layers import refuse_coded, selected_layers
from pithnet.passes.records import Record
from pithnet.results import LayerRow
from pithnet.surgery import Mask, Weighted, latent_weight, parametrization, set_mask
from pithnet.tensor import (
    Criterion,
    erk,
    get_criterion,
    global_masks,
    keep_mask,
    std_threshold,
    threshold_mask,
    uniform,
)
from pithnet.tensor.pruning.criteria import random

Scores = Sequence[Tensor]


def _global(scores: Scores, sparsity: float) -> list[Tensor]:
    """One ranking over all layers."""
    return global_masks(scores, round(sparsity * sum(s.numel() for s in scores)))


def _uniform(scores: Scores, sparsity: float) -> list[Tensor]:
    """The same share of zeros in every layer: the lowest scores of each."""
    return [
        keep_mask(s, z) for s, z in zip(scores, uniform([s.numel() for s in scores], sparsity), strict=True)
    ]


def _erk(scores: Scores, sparsity: float) -> list[Tensor]:
    """Erdos-Renyi-kernel densities (Evci et al. 2020): small layers keep more."""
    return [keep_mask(s, z) for s, z in zip(scores, erk([s.shape for s in scores], sparsity), strict=True)]


SCOPES: dict[str, Callable[[Scores, float], list[Tensor]]] = {
    "global": _global,
    "uniform": _uniform,
    "erk": _erk,
}


@guarded
@torch.no_grad()
def prune(
    model: nn.Module,
    sparsity: float,
    *,
    scope: str = "global",
    criterion: str = "magnitude",
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    recoverable: bool = False,
    generator: torch.Generator | None = None,
) -> Record:
    """Masks `model` in place so that exactly round(sparsity * weights) are zero, not counting biases and BN.

    A weight that several layers share has one mask and counts once. Of a model pruned before, what is masked
    goes first; with less sparsity than it has, some of that comes back, as zeros that learn.

    Args:
        sparsity: share of zeros, in [0, 1].
        scope: "global" ranks all layers together, "uniform" gives each the same share,
            "erk" spares small layers.
        criterion: a name in `pithnet.tensor.CRITERIA`.
        skip: name patterns of layers and parameters to leave alone.
        also: name patterns of parameters of two dimensions or more to compress beside the known kinds of
            layer (`surgery.register_kind`): bare matrices, experts. What is compressed once counts as a layer
            from then on, in later passes too.
        recoverable: pruned weights learn on from zero, unseen by the network, and come back when the model is
            pruned again if they have outgrown others by then.

    Raises RecipeError for a sparsity outside [0, 1], an unknown scope or criterion;
    ModelError as `selected_layers`.
    """
    if not 0 <= sparsity <= 1:
        raise RecipeError(f"sparsity is a share of the weights, from 0 to 1, not {sparsity}")
    masks_of = lookup("pruning scope", scope, SCOPES, RecipeError)
    rank = get_criterion(criterion)
    layers = selected_layers(model, skip, also)
    refuse_coded(layers)
    with working("prune", len(layers), "layers") as step:
        scores = []
        for _, layer in layers:
            scores.append(_scores(layer, rank, generator))
            step.advance()
        masks = masks_of(scores, sparsity)
        _apply(layers, masks, recoverable)
    return Record.of(model, f"prune {scope} {sparsity:.4g}", _rows(layers), skip)


@guarded
@torch.no_grad()
def prune_by_std(model: nn.Module, s: float, *, skip: Sequence[str] = (), also: Sequence[str] = ()) -> Record:
    """Masks `model` in place: in each layer the weights with |w| <= s * std(w) of that layer become zero.

    `skip` and `also` are as those of `prune`. Raises RecipeError for s < 0; ModelError as `selected_layers`.
    """
    if not s >= 0:
        raise RecipeError(f"s counts standard deviations and cannot be {s}; use 0 or more")
    layers = selected_layers(model, skip, also)
    refuse_coded(layers)
    masks = [threshold_mask(m.weight, std_threshold(m.weight, s)) for _, m in layers]
    _apply(layers, masks, recoverable=False)
    return Record.of(model, f"prune std {s:.4g}", _rows(layers), skip)


def _scores(layer: Weighted, rank: Criterion, generator: torch.Generator | None) -> Tensor:
    mask = parametrization(layer, Mask)
    if mask is None:
        return rank(layer.weight, generator)
    weight = latent_weight(layer) if mask.recoverable else layer.weight
    if mask.recoverable and rank is not random:
        return rank(weight, generator)
    # What is gone goes first: a score that does not look at the weight would keep zeros in place of others.
    return torch.where(mask.mask, rank(weight, generator), -1.0)


def _apply(layers: list[tuple[str, Weighted]], masks: list[Tensor], recoverable: bool) -> None:
    for (_, layer), mask in zip(layers, masks, strict=True):
        set_mask(layer, mask, recoverable)
        # A pruned weight starts again from zero. With its old value it would drift, unseen by the loss, and
        # come back as noise: in a trial on ResNet-20 that tripled the loss at 80 % zeros.
        latent_weight(layer).masked_fill_(~mask, 0.0)


def _rows(layers: list[tuple[str, Weighted]]) -> Iterator[LayerRow]:
    """The zeros of the layers' masks as they are now."""
    for name, layer in layers:
        mask = parametrization(layer, Mask)
        zeros = 0 if mask is None else int((~mask.mask).sum())
        yield LayerRow(name, latent_weight(layer).numel(), zeros)


def cubic(progress: float) -> float:
    """1 - (1 - t)^3: fast while much is redundant, slow at the end (Zhu & Gupta 2017, eq. 1)."""
    return 1 - (1 - progress) ** 3


def linear(progress: float) -> float:
    return progress


RAMPS: dict[str, Callable[[float], float]] = {"cubic": cubic, "linear": linear}


class GradualPruning:
    """Prunes while a training runs; hand it to `Trainer(before_step=...)`.

    Over the first `ramp` of the training the sparsity rises `updates` times, from what the model's masks have
    to `sparsity`; masks are recoverable until the last of these, and final afterwards. `seed` is the random
    criterion's: the same scores at every update, so that masks grow. Raises as `prune`, and RecipeError for
    an unknown schedule, a ramp outside [0, 1] and updates below 1, before anything is changed.
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
        skip: Sequence[str] = (),
        also: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        shape = lookup("pruning schedule", schedule, RAMPS, RecipeError)
        if not 0 <= sparsity <= 1:
            raise RecipeError(f"sparsity is a share of the weights, from 0 to 1, not {sparsity}")
        if not 0 <= ramp <= 1:
            raise RecipeError(f"ramp is a share of the training, from 0 to 1, not {ramp}")
        if updates < 1:
            raise RecipeError(f"updates is {updates}; use 1 or more")
        require_known("pruning scope", scope, SCOPES, RecipeError)
        get_criterion(criterion)
        refuse_coded(selected_layers(model, skip, also))
        self.model, self.sparsity, self.ramp, self.shape, self.updates = model, sparsity, ramp, shape, updates
        self.scope, self.criterion, self.seed = scope, criterion, seed
        self.skip, self.also = skip, also
        self._last = 0
        self._start = self._masked().sparsity
        if not any(parametrization(layer, Mask) for _, layer in selected_layers(model, skip, also)):
            prune(model, 0.0, scope=scope, criterion=criterion, skip=skip, also=also, recoverable=True)

    @property
    def record(self) -> Record | None:
        """What has been pruned so far, None before the first update."""
        return self._masked() if self._last else None

    def _masked(self) -> Record:
        rows = _rows(selected_layers(self.model, self.skip, self.also))
        return Record.of(self.model, f"prune {self.scope} {self.sparsity:.4g}", rows, self.skip)

    def state_dict(self) -> dict[str, Any]:
        return {"update": self._last, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._last, self._start = state["update"], state.get("start", 0.0)

    def __call__(self, done: float) -> None:
        """done: share of the training, in [0, 1]."""
        if done < self.ramp:
            update = min(int(done / self.ramp * self.updates) + 1, self.updates)
        else:
            update = self.updates
        if update == self._last:
            return
        self._last = update
        progress = self.shape(update / self.updates)
        prune(
            self.model,
            self._start + (self.sparsity - self._start) * progress if progress < 1 else self.sparsity,
            scope=self.scope,
            criterion=self.criterion,
            skip=self.skip,
            recoverable=update < self.updates,
            generator=torch.Generator().manual_seed(self.seed),
        )
