"""Quantizers whose scale trains with the weights: learned steps, and additive powers of two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.tensor.quantizers.base import Levels, Quantizer, mean_magnitude, positive


@dataclass(frozen=True)
class LearnedStep(Quantizer):
    """LSQ: a step that learns, its gradient times 1 / sqrt(weights * top code) (Esser et al. 2020, eq. 3).

    Codes are -2^(b-1)..2^(b-1) - 1 times the step as in the paper, or without the lowest where symmetric
    (then int8 runtimes hold them). The step starts at 2 mean |w| / sqrt(top code), as in section 2.1. With 1
    bit the levels are +-step / 2.
    """

    name: ClassVar[str] = "lsq"
    symmetric_by_default: ClassVar[bool] = False
    learned: ClassVar[bool] = True

    @property
    def count(self) -> int:
        return 2**self.bits - 1 if self.symmetric and self.bits > 1 else 2**self.bits

    @property
    def _top(self) -> float:
        return max(2 ** (self.bits - 1) - 1, 1) if self.bits else 1

    def fit(self, rows: Tensor) -> Levels:
        scale = 2 * mean_magnitude(rows.detach()) / math.sqrt(self._top)
        lowest = -0.5 if self.bits == 1 else self._top - self.count + 1
        return Levels(scale, torch.full_like(scale, lowest))

    def __call__(self, rows: Tensor, levels: Levels) -> Tensor:
        return _learned(self, rows, levels, 1 / math.sqrt(rows.shape[1] * self._top))


@dataclass(frozen=True)
class AdditivePowers(Quantizer):
    """APoT: magnitudes that are sums of powers of two, dense near zero, with a clipping range that learns.

    The b - 1 bits of magnitude make terms of two bits each, and one of one bit if b - 1 is odd; the terms
    take the powers 1, 1/2, 1/4, ... in turn (Li, Dong & Wang 2020, eq. 5 and 8). The scale is the smallest
    power, so that levels are whole multiples of it.
    """

    name: ClassVar[str] = "apot"
    learned: ClassVar[bool] = True
    can_be_asymmetric: ClassVar[bool] = False

    @property
    def count(self) -> int:
        return 2**self.bits - 1 if self.bits > 1 else 2**self.bits

    def fit(self, rows: Tensor) -> Levels:
        scale = rows.detach().abs().amax(1) / _magnitudes(self.bits)[-1]
        return Levels(scale, torch.zeros_like(scale))

    def codes(self, rows: Tensor, levels: Levels) -> Tensor:
        """Returns the number of the nearest level in ascending order, (R, M).

        Args:
            rows: (R, M), floating point.
            levels: The levels of the rows.
        """
        table = self._table(rows)
        steps = rows.detach() / positive(levels.scale)[:, None]
        return torch.bucketize(steps, (table[1:] + table[:-1]) / 2).to(rows.dtype)

    def values(self, codes: Tensor, levels: Levels) -> Tensor:
        return self._table(codes)[codes.long()] * levels.scale[:, None]

    def _table(self, like: Tensor) -> Tensor:
        magnitudes = _magnitudes(self.bits)
        table = sorted({*magnitudes, *(-m for m in magnitudes)})
        return torch.tensor(table, dtype=like.dtype, device=like.device)

    def __call__(self, rows: Tensor, levels: Levels) -> Tensor:
        return _learned(self, rows, levels, 1 / math.sqrt(rows.shape[1]))


def _learned(quantizer: Quantizer, rows: Tensor, levels: Levels, slowdown: float) -> Tensor:
    """Rounds the rows; gradients pass straight inside the levels' range, and the scale's is times `slowdown`.

    Beyond the range the rows get none. d value / d scale is code - w / scale inside the range and the
    outermost code beyond it.
    """
    if not quantizer.bits:
        return Quantizer.__call__(quantizer, rows, levels)
    scale = levels.scale * slowdown + (levels.scale * (1 - slowdown)).detach()
    fixed = Levels(levels.scale.detach(), levels.offset.detach())
    ends = torch.tensor([0, quantizer.count - 1], dtype=rows.dtype, device=rows.device).expand(len(rows), 2)
    low, high = (quantizer.values(ends, fixed) / positive(fixed.scale)[:, None]).split(1, dim=1)
    steps = torch.minimum(torch.maximum(rows / positive(scale)[:, None], low), high)
    value = quantizer.nearest(rows, fixed)
    whole = value / positive(fixed.scale)[:, None]
    smooth = (steps + (whole - steps).detach()) * scale[:, None]
    # The value is that of every other way of rounding, to the last bit; the gradient is the smooth one's.
    return value + torch.where(rows == 0, rows - rows.detach(), smooth - smooth.detach())


@cache
def _magnitudes(bits: int) -> tuple[int, ...]:
    """Returns the magnitudes of `bits`-bit levels, ascending from 0, in units of the smallest power."""
    if bits < 2:
        return (1,)
    sizes = [3] * ((bits - 1) // 2) + [1] * ((bits - 1) % 2)
    exponents = [[place + len(sizes) * i for i in range(size)] for place, size in enumerate(sizes)]
    last = max(e for term in exponents for e in term)
    terms = [[0, *(2 ** (last - e) for e in term)] for term in exponents]
    return tuple(sorted(sum(choice) for choice in product(*terms)))
