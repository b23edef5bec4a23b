"""Sparsity by a regularizer: trained with it, then cut off at the share of zeros that is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pithnet.errors import RecipeError, require_known
from pithnet.learn import ADMM, Slot, Term, require_rho
from pithnet.passes.guard import finite_or_unchanged
from pithnet.passes.layers import refuse_coded, selected_layers
from pithnet.passes.records import Record
from pithnet.passes.regularized.masks import cut_off, mask_of, masked_rows
from pithnet.passes.regularized.terms import (
    GROUPS,
    HOWS,
    is_grouped,
    regularizers,
    resolved_how,
)
from pithnet.passes.scopes import SCOPES
from pithnet.surgery import Mask, Weighted, latent_weight, parametrization, set_mask
from pithnet.tensor.regularizers import regularizer_class

_FIRST_STRENGTH = 1e-5  # where the search for one begins; each update may double or halve it
_GAIN = 8.0  # 10 % of zeros too few raise it by a factor of exp(0.8)


class Regularization:
    """Sparsity by a regularizer: a schedule that trains `model`, in place, with it, and masks it at the end.

    Hand it to `Trainer(before_step=...)`. Over the first `until` of the training the regularizer acts on
    every step. Then the weights are masked: exactly round(sparsity * weights) of them, the smallest first,
    or, without a `sparsity`, those that are zero already. The rest of the training runs free of the
    regularizer and of its bias; a zero that is not masked may grow again, one that was masked before stays.
    Where making one raises, nothing has changed.

    Args:
        model: the network.
        kind: a name in `pithnet.tensor.REGULARIZERS`.
        strength: lambda, in units of the loss per unit of the regularizer. None finds it while training, for
            proximal steps of single weights: at each update it is raised where there are fewer zeros than a
            straight line from none to `sparsity` wants, and lowered where there are more.
        sparsity: share of zeros, in [0, 1]; the regularizers that keep k take their k from it.
        how: "proximal", "loss" or "admm"; None takes proximal where the regularizer has a prox, else loss.
        until: share of the training, in (0, 1], over which the regularizer acts.
        scope: what is ranked: "global" all layers together, "uniform" and "erk" as in `prune`. A k is that of
            all layers together where global (of each, for groups), else of each.
        groups: "filters" or "channels", for the regularizers of whole groups. Each layer's zeros come as near
            to its share as whole groups do, and none loses all of them.
        updates: how often, while it regularizes, ADMM renews its copies, or the strength is set anew.
        rho: ADMM's, at start and end.
        skip: patterns of layers to leave as they are.
        also: patterns of further parameters to take.
        **parameters: the regularizer's own (gamma, a, l1_ratio).

    Raises:
        RecipeError: A value is out of range, a name is unknown, or the regularizer lacks what `how` needs.
        ModelError: A layer cannot be compressed, or is shared already.
    """

    def __init__(
        self,
        model: nn.Module,
        kind: str,
        *,
        strength: float | None = None,
        sparsity: float | None = None,
        how: str | None = None,
        until: float = 1.0,
        scope: str = "global",
        groups: str = "filters",
        updates: int = 40,
        rho: tuple[float, float] = (1e-3, 1e-1),
        skip: Sequence[str] = (),
        also: Sequence[str] = (),
        **parameters: float,
    ) -> None:
        self.model, self.kind = model, kind
        self.skip, self.also = tuple(skip), tuple(also)
        self.sparsity, self.scope, self.groups = sparsity, scope, groups
        self.until, self.updates = until, updates
        self._check()
        require_rho(rho)
        way = resolved_how(kind, how)
        layers = [layer for _, layer in self._layers()]
        refuse_coded(self._layers())
        self.searches = strength is None and self._can_search(way)
        self.strength = _FIRST_STRENGTH if strength is None else strength
        found = regularizers(kind, layers, sparsity, scope, groups, {"strength": self.strength, **parameters})
        for layer in layers:
            if parametrization(layer, Mask) is None:
                set_mask(layer, torch.ones_like(layer.weight, dtype=torch.bool))
        terms = [
            Term(regularizer, [Slot(latent_weight(m), mask_of(m), m.name) for m in members])
            for regularizer, members in found
        ]
        self.method = ADMM(terms, rho) if way == "admm" else HOWS[way](terms)
        self._last, self._own_zeros = 0, dict[str, int]()

    def _check(self) -> None:
        if self.sparsity is not None and not 0 <= self.sparsity <= 1:
            raise RecipeError(f"sparsity is a share of the weights, from 0 to 1, not {self.sparsity}")
        if not 0 < self.until <= 1:
            raise RecipeError(f"until is a share of the training, above 0 and up to 1, not {self.until}")
        if self.updates < 1:
            raise RecipeError(f"updates is {self.updates}; use 1 or more")
        require_known("pruning scope", self.scope, SCOPES, RecipeError)
        require_known("groups", self.groups, GROUPS, RecipeError)

    def _can_search(self, way: str) -> bool:
        """Tells whether a strength is to be found, and refuses where one is needed and cannot be."""
        if regularizer_class(self.kind).is_constraint:
            return False
        # Groups answer too late: none is zero until it has shrunk as a whole.
        if way != "proximal" or self.sparsity is None or is_grouped(self.kind):
            raise RecipeError(
                f"{self.kind!r} needs a strength here; only proximal steps of single weights with a sparsity "
                "to reach find their own"
            )
        return True

    def _layers(self) -> list[tuple[str, Weighted]]:
        return selected_layers(self.model, self.skip, self.also)

    def attach(self, optimizer: Optimizer) -> None:
        """Acts on every step of `optimizer` from now on; `Trainer` does this by itself.

        Raises:
            RecipeError: A regularized tensor is not among the optimizer's, or those of one term have learning
                rates of their own.
        """
        self.method.attach(optimizer)

    @property
    def record(self) -> Record | None:
        """The masks, once they are final; None before."""
        return self._record() if self._own_zeros else None

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on."""
        return {
            "update": self._last,
            "own_zeros": self._own_zeros,
            "strength": self.strength,
            "method": self.method.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self._last, self._own_zeros = state["update"], dict(state["own_zeros"])
        self.strength = state["strength"]
        self.method.set_strength(self.strength)
        self.method.load_state_dict(state["method"])
        self.method.active = not self._own_zeros

    def __call__(self, done: float) -> None:
        """Takes in how far the training is: `done` is its share, in [0, 1]."""
        if done >= self.until:
            self.finish()
            return
        update = int(done / self.until * self.updates)
        if update != self._last and self.method.active:
            self._last = update
            self.method.update(update / self.updates)
            if self.searches:
                self._search(update / self.updates)

    def _search(self, done: float) -> None:
        assert self.sparsity is not None
        change = math.exp(_GAIN * (self.sparsity * done - self.method.zeros))
        self.strength *= min(max(change, 0.5), 2.0)
        self.method.set_strength(self.strength)

    @torch.no_grad()
    def finish(self) -> Record:
        """Ends the regularizer and masks the model, in place; called again, it only says what there is."""
        if not self._own_zeros:
            self.method.active = False
            layers = self._layers()
            self._own_zeros = {name: int((layer.weight == 0).sum()) for name, layer in layers}
            with finite_or_unchanged(self.model, "regularize"):
                cut_off([m for _, m in layers], self.kind, self.sparsity, self.scope, self.groups)
        return self._record()

    def _record(self) -> Record:
        amount = "" if self.sparsity is None else f" {self.sparsity:.4g}"
        named = f"{self.kind} {self.groups}" if is_grouped(self.kind) else self.kind
        rows = masked_rows(self._layers(), self.kind, self.groups, self._own_zeros)
        return Record.of(self.model, f"regularize {named}{amount}", rows, self.skip)


def regularize(model: nn.Module, optimizer: Optimizer, kind: str, **options: Any) -> Regularization:
    """Lets a regularizer act on every step of `optimizer` over the weights of `model`, changed in place.

    It is for a training loop of your own. Call what it returns with the share of the training that is done,
    in [0, 1], before each step (ADMM and `until` need it), and its `finish()` at the end: it masks the model
    and returns the record. Where it raises, nothing has changed.

    Args:
        model: the network.
        optimizer: holds the model's weights.
        kind: a name in `pithnet.tensor.REGULARIZERS`.
        **options: the other arguments of `Regularization`.

    Raises:
        RecipeError: A value is out of range, a name is unknown, the regularizer lacks what `how` needs, or
            the optimizer lacks one of the weights.
        ModelError: A layer cannot be compressed, or is shared already.
    """
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, layer in selected_layers(model, options.get("skip", ()), options.get("also", ())):
        if id(latent_weight(layer)) not in held:
            raise RecipeError(f"{name} is not in the optimizer: give it all of the model's parameters")
    regularization = Regularization(model, kind, **options)
    regularization.attach(optimizer)
    return regularization
