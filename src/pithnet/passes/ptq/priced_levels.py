"""Levels that train at a price of bits, so that the file keeps the size that was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from pithnet.errors import RecipeError
from pithnet.heartbeat import working
from pithnet.passes.file_size import Weigh, file_bytes
from pithnet.passes.guard import finite_or_unchanged
from pithnet.passes.ptq.rate.amounts import require_one_amount, whole_bytes
from pithnet.passes.ptq.rate.budget import Measure, coded_bits
from pithnet.passes.ptq.rate.lowering import round_within_
from pithnet.passes.ptq.rate.price import Price
from pithnet.passes.ptq.rate.priced_weights import PricedWeight, priced_weights
from pithnet.passes.ptq.rate.round_to_budget import require_enough
from pithnet.passes.quantize import layer_row
from pithnet.passes.records import Record
from pithnet.passes.updates import Updates
from pithnet.surgery import frozen_modules, train_
from pithnet.tensor.rate_distortion.contexts import Rates

# The first price: a bit changes by so much of what the loss does, from level to level. The rest is found.
_FIRST = 0.003
_OTHERS = 1 / 60  # of the rate of weights, which is in levels: that of all else, with AdamW
_MEMORY = 0.99  # of the squared gradients, a step


class PricedLevels:
    """Trains rounded weights further while every bit that they cost in the file is part of the loss.

    Hand it to `Trainer(before_step=...)`, after `quantize_without_labels(bytes=...)`, or `rate=`, has rounded
    the network to about the same budget. Weights train straight through the rounding (Bengio et al. 2013) and
    change level as they do; to the loss come the bits of all levels, as a coder with contexts takes them,
    times a price. `updates` times over the training the bits are counted anew, and the price rises where they
    are more than the budget has, and falls where they are fewer. `finish` then rounds the weights for good,
    a little more towards zero where that is needed to keep the budget.

    With AdamW the learning rate of weights is in levels, so 0.03 moves a weight by about one level in 33
    steps; everything else that trains, BN above all, learns at a sixtieth of the rate, and nothing decays.
    Weights that do not train (`requires_grad=False`) keep their levels.

    Args:
        model: The network, trained in place.
        bytes: Size of the file that `pn.save(pn.finalize(model), path)` writes; up to 1 it is a share of the
            float32 bytes.
        rate: Bits that a weight takes in the file, averaged over the rounded layers, in the place of `bytes`.
        updates: How often bits are counted anew over the training.
        freeze_norms: Whether statistics of BNs stay as rounding has left them. Those of batches are others
            where images come without the augmentation that the network was trained with. With False, BNs take
            the statistics of batches and follow what levels do, as in any training.
        weigh: Gives the bytes of the network's file; by default those of `pn.save(pn.finalize(model), path)`.

    Raises:
        RecipeError: Not exactly one of `bytes` and `rate` is given, no layer that trains has been rounded so,
            or zeros for all weights that train would take more than the budget.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        bytes: float | None = None,
        rate: float | None = None,
        updates: int = 100,
        freeze_norms: bool = True,
        weigh: Weigh = file_bytes,
    ) -> None:
        if (rate is None) == (bytes is None):
            raise RecipeError("give exactly one of bytes= (the whole file) and rate= (coded bits a weight)")
        require_one_amount(None, rate, bytes)
        self.model, self._updates = model, Updates(updates)
        self.weights = priced_weights(model)
        names = [weight.name for weight in self.weights]
        trained = [weight.name for weight in self.weights if weight.trains]
        if not trained:
            raise RecipeError(
                "no layer that trains has levels to train at a price of bits; run quantize_without_labels "
                "with bytes= or rate= first, and leave requires_grad on"
            )
        self.wanted = float(rate or 0) if bytes is None else whole_bytes(bytes, model)
        self._unit = "bits a weight" if bytes is None else "bytes"
        self._measure: Measure = weigh if rate is None else coded_bits(names)
        require_enough(model, trained, self.wanted, self._measure, self._unit)
        if freeze_norms:
            _freeze_statistics_(model)
        self._rates: list[Rates] = []
        self._budget = 0.0  # of the bits of all levels, as contexts count them
        self._squares: list[float] = []  # of the loss's gradient by the levels of each weight, their mean
        self.price = Price()

    def attach(self, optimizer: Optimizer) -> None:
        """Acts on every step of `optimizer` from now on; `Trainer` does this by itself."""
        _give_own_rates(optimizer, self.weights)
        optimizer.register_step_pre_hook(self._add_price)

    @torch.no_grad()
    def __call__(self, done: float) -> None:
        """Counts the bits anew if it is time for it; `done` is the share of the training, in [0, 1]."""
        if done >= 1 or not self._updates.due(done):
            return
        levels = [weight.scaled().round().long() for weight in self.weights]
        self._rates = [w.rates(q) for w, q in zip(self.weights, levels, strict=True)]
        bits = self._bits(levels)
        if not self._budget:
            self._budget = bits * self.wanted / self._measure(self.model)
            for number, weight in enumerate(self.weights):
                if weight.trains:
                    weight.spread(number)
        self.price.follow(bits, self._budget)

    def _bits(self, levels: Sequence[Tensor]) -> float:
        found = zip(self._rates, levels, self.weights, strict=True)
        return max(sum(float(rates.total(q, w.neighbours)) for rates, q, w in found), 1.0)

    @torch.no_grad()
    def _add_price(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Adds the gradient of price times bits to those of the weights."""
        if not self._rates:
            raise RecipeError(
                "no bits are counted yet; call PricedLevels with the share done before each step"
            )
        found = zip(self._rates, self.weights, strict=True)
        slopes = [rates.slopes(weight.scaled(), weight.neighbours) for rates, weight in found]
        self._feel([weight.parameter.grad for weight in self.weights])
        if not self.price.first:
            self.price.begin(_FIRST * self._balance(slopes))
        for weight, slope in zip(self.weights, slopes, strict=True):
            if weight.parameter.grad is not None:
                weight.parameter.grad.add_(weight.per_step(slope), alpha=self.price.value)

    def _balance(self, slopes: Sequence[Tensor]) -> float:
        """Returns the price at which the bits of all weights change as fast as the loss does."""
        numbers = [weight.parameter.numel() for weight in self.weights]
        loss = sum(square * n for square, n in zip(self._squares, numbers, strict=True))
        return math.sqrt(loss / max(sum(float(slope.double().square().sum()) for slope in slopes), 1e-30))

    def _feel(self, gradients: Sequence[Tensor | None]) -> None:
        """Takes in the mean squared gradients of the loss by the levels of each weight."""
        now = [
            0.0 if gradient is None else float(weight.per_level(gradient).square().mean())
            for weight, gradient in zip(self.weights, gradients, strict=True)
        ]
        before = self._squares or now
        self._squares = [_MEMORY * b + (1 - _MEMORY) * n for b, n in zip(before, now, strict=True)]

    @torch.no_grad()
    def finish(self) -> Record:
        """Rounds the weights for good, within the budget, and returns what each layer has become."""
        with finite_or_unchanged(self.model, "PricedLevels"), working("round to the budget", None, ""):
            squares = self._squares or [1.0] * len(self.weights)
            round_within_(self.weights, squares, lambda: self._measure(self.model), self.wanted)
            for weight in self.weights:
                weight.settle()
        rows = [layer_row(weight.name, weight.layer) for weight in self.weights]
        wanted = f"{self.wanted:,.0f}" if self._unit == "bytes" else f"{self.wanted:g}"
        return Record.of(self.model, f"train levels to {wanted} {self._unit}", rows)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a later process needs to go on from here."""
        rates = [(rates.bits, rates.far) for rates in self._rates]
        counted = {"budget": self._budget, "rates": rates, "squares": self._squares}
        return {"update": self._updates.last, **counted, "price": asdict(self.price)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was taken."""
        self._updates.last = state["update"]
        self._budget, self._squares = state["budget"], state["squares"]
        self.price = Price(**state["price"])
        self._rates = [Rates(bits, far) for bits, far in state["rates"]]


def _freeze_statistics_(model: nn.Module) -> None:
    """Puts BNs into eval mode within a model in train mode, where a `Trainer` leaves them so."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    train_(model, [*frozen_modules(model), *norms])


def _give_own_rates(optimizer: Optimizer, weights: Sequence[PricedWeight]) -> None:
    """Gives each weight a group of its own without decay, and where a rate is in steps one in its levels."""
    own = {id(weight.parameter): weight for weight in weights}
    is_adaptive = "betas" in optimizer.defaults
    for group in list(optimizer.param_groups):
        mine = [p for p in group["params"] if id(p) in own]
        group["params"] = [p for p in group["params"] if id(p) not in own]
        options = {name: value for name, value in group.items() if name != "params"}
        for p in mine:
            scale = own[id(p)].step if is_adaptive else 1.0
            optimizer.add_param_group({**options, "params": [p], "weight_decay": 0.0, "lr_scale": scale})
        if is_adaptive:
            group["lr_scale"] = group.get("lr_scale", 1.0) * _OTHERS
            group["weight_decay"] = 0.0
