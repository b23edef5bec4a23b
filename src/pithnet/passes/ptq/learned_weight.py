"""A quantized weight that learns: its roundings go straight through, its levels have their own gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pithnet.surgery import FakeQuantizer, Weighted, fake_quantizer, set_latent_weight, unquantized_weight
from pithnet.tensor.quantizers import Levels

_WEIGHT_RATE = 0.04  # of a weight's standard deviation
RATE = 1e-3  # of levels, relative to their scale, and of BN's factors and shifts


@dataclass(frozen=True, eq=False)
class LearnedWeight:
    """One weight that learns: itself, and the log scales and offsets of its rows."""

    weight: Tensor
    part: FakeQuantizer
    log_scale: Tensor
    offset: Tensor

    @classmethod
    def of(cls, layer: Weighted) -> LearnedWeight:
        """Returns what a quantized layer starts from."""
        part = fake_quantizer(layer)
        assert part is not None
        weight = unquantized_weight(layer).detach().clone()
        scale, offset = part.levels(part.rows(weight))
        free = part.quantizer.free_offset
        log_scale = scale.detach().clamp(min=1e-12).log().requires_grad_()
        return cls(weight.requires_grad_(), part, log_scale, offset.detach().clone().requires_grad_(free))

    @property
    def levels(self) -> Levels:
        """Returns the levels as a file keeps them; the gradient passes straight."""
        own = Levels(self.log_scale.exp(), self.offset)
        kept = self.part.quantizer.stored(Levels(*(level.detach() for level in own)))
        return Levels(*(k + (o - o.detach()) for k, o in zip(kept, own, strict=True)))

    def groups(self) -> list[dict[str, Any]]:
        """Returns parameter groups for the optimizer: weights by their size, levels by theirs."""
        rate = _WEIGHT_RATE * float(self.weight.detach().std(unbiased=False))
        levels = [t for t in (self.log_scale, self.offset) if t.requires_grad]
        return [{"params": [self.weight], "lr": rate}, {"params": levels, "lr": RATE}]

    def value(self) -> Tensor:
        """Returns the weight on its levels.

        Gradients go straight to the weight, and to its levels by their codes.
        """
        rows, quantizer, levels = self.part.rows(self.weight), self.part.quantizer, self.levels
        codes = quantizer.codes(rows, Levels(*(level.detach() for level in levels)))
        rounded = quantizer.values(codes, levels) + (rows - rows.detach())
        return self.part.from_rows(torch.where(rows == 0, 0.0, rounded), self.weight)

    @torch.no_grad()
    def store(self, layer: Weighted) -> None:
        """Gives the layer the weight on its levels, and these, in place."""
        self.part.fix(self.levels)
        set_latent_weight(layer, self.value())
