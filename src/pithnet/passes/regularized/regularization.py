"""Sparsity by a regularizer: trained with it, then cut off at the share of zeros that is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pithnet.errors import RecipeError
from pithnet.learn import ADMM, Slot, Term
from pithnet.passes.guard import finite_or_unchanged
from pithnet.passes.layers import refuse_coded, selected_layers
from pithnet.passes.records import Record
from pithnet.passes.regularized.masks import cut_off, mask_of, masked_rows
from pithnet.passes.regularized.settings import RegularizationSettings
from pithnet.passes.regularized.terms import HOWS, is_grouped
from pithnet.surgery import Mask, Weighted, latent_weight, parametrization, set_mask

_GAIN = 8.0  # 10 % of zeros too few raise it by a factor of exp(0.8)


class Regularization:
    """Sparsity by a regularizer: a schedule that trains `model`, in place, with it, and masks it at the end.

    Hand it to `Trainer(before_step=...)`. Over the first `until` of the training the regularizer acts on
    every step. Then the weights are masked: exactly round(sparsity * weights) of them, the smallest first,
    or, without a `sparsity`, those that are zero already. The rest of the training runs free of the
    regularizer and of its bias; a zero that is not masked may grow again, one that was masked before stays.
    Where making one raises, nothing has changed.

    Args:
        model: The network.
        kind: A name in `pithnet.tensor.REGULARIZERS`.
        strength: lambda, in units of the loss per unit of the regularizer. None finds it while training, for
            proximal steps of single weights: at each update it is raised where there are fewer zeros than a
            straight line from none to `sparsity` wants, and lowered where there are more.
        sparsity: Share of zeros, in [0, 1]; the regularizers that keep k take their k from it.
        how: "proximal", "loss" or "admm"; None takes proximal where the regularizer has a prox, else loss.
        until: Share of the training, in (0, 1], over which the regularizer acts.
        scope: What is ranked: "global" all layers together, "uniform" and "erk" as in `prune`. A k is that of
            all layers together where global (of each, for groups), else of each.
        groups: "filters" or "channels", for the regularizers of whole groups. Each layer's zeros come as near
            to its share as whole groups do, and none loses all of them.
        updates: How often, while it regularizes, ADMM renews its copies, or the strength is set anew.
        rho: ADMM's, at start and end.
        skip: Patterns of layers to leave as they are.
        also: Patterns of further parameters to take.
        **parameters: The regularizer's own (gamma, a, l1_ratio).

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
        choice = RegularizationSettings(
            kind=kind,
            strength=strength,
            sparsity=sparsity,
            how=how,
            until=until,
            scope=scope,
            groups=groups,
            updates=updates,
            rho=rho,
            parameters=parameters,
        )
        self.model, self.choice, self.skip, self.also = model, choice, tuple(skip), tuple(also)
        layers = [layer for _, layer in self._layers()]
        refuse_coded(self._layers())
        way = choice.way
        self.searches, self.strength = choice.searches, choice.first_strength
        found = choice.regularizers(layers)
        for layer in layers:
            if parametrization(layer, Mask) is None:
                set_mask(layer, torch.ones_like(layer.weight, dtype=torch.bool))
        terms = [
            Term(regularizer, [Slot(latent_weight(m), mask_of(m), m.name) for m in members])
            for regularizer, members in found
        ]
        self.method = ADMM(terms, rho) if way == "admm" else HOWS[way](terms)
        self._updates, self._own_zeros = choice.rhythm(), dict[str, int]()

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
            "update": self._updates.last,
            "own_zeros": self._own_zeros,
            "strength": self.strength,
            "method": self.method.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self._updates.last, self._own_zeros = state["update"], dict(state["own_zeros"])
        self.strength = state["strength"]
        self.method.set_strength(self.strength)
        self.method.load_state_dict(state["method"])
        self.method.active = not self._own_zeros

    def __call__(self, done: float) -> None:
        """Takes in how far the training is: `done` is its share, in [0, 1]."""
        if done >= self.choice.until:
            self.finish()
            return
        if self.method.active and self._updates.due(done):
            self.method.update(self._updates.begun)
            if self.searches:
                self._search(self._updates.begun)

    def _search(self, done: float) -> None:
        assert self.choice.sparsity is not None
        change = math.exp(_GAIN * (self.choice.sparsity * done - self.method.zeros))
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
                cut_off(
                    [m for _, m in layers],
                    self.choice.kind,
                    self.choice.sparsity,
                    self.choice.scope,
                    self.choice.groups,
                )
        return self._record()

    def _record(self) -> Record:
        c = self.choice
        amount = "" if c.sparsity is None else f" {c.sparsity:.4g}"
        named = f"{c.kind} {c.groups}" if is_grouped(c.kind) else c.kind
        rows = masked_rows(self._layers(), c.kind, c.groups, self._own_zeros)
        return Record.of(self.model, f"regularize {named}{amount}", rows, self.skip)


def regularize(model: nn.Module, optimizer: Optimizer, kind: str, **options: Any) -> Regularization:
    """Lets a regularizer act on every step of `optimizer` over the weights of `model`, changed in place.

    It is for a training loop of your own. Call what it returns with the share of the training that is done,
    in [0, 1], before each step (ADMM and `until` need it), and its `finish()` at the end: it masks the model
    and returns the record. Where it raises, nothing has changed.

    Args:
        model: The network.
        optimizer: Holds the model's weights.
        kind: A name in `pithnet.tensor.REGULARIZERS`.
        **options: The other arguments of `Regularization`.

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
