"""What a quantizer is: whole codes 0..n-1 for the weights of a row, and a scale and an offset for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from pithnet.errors import RecipeError

MAX_BITS = 8


class Levels(NamedTuple):
    """The levels of R rows: level k of row r is (k + offset[r]) * scale[r]; both float (R,), scale >= 0."""

    scale: Tensor
    offset: Tensor


def require_bits(bits: int) -> None:
    """Raises RecipeError unless bits is a whole number from 0 (all zeros) to 8."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 0 <= bits <= MAX_BITS:
        raise RecipeError(
            f"bits must be from 1 to {MAX_BITS}, 0 for zeros or None to leave a layer as it is, not {bits}"
        )


@dataclass(frozen=True)
class Quantizer:
    """Rounds each row (R, M) to its levels.

    A zero is a pruned weight: it stays exactly zero, whatever the levels.

    bits: 1 to 8, or 0, which gives zeros. symmetric: whether levels come in pairs of opposite sign.

    name: in `QUANTIZERS`. symmetric_by_default: what it is where nothing is said. learned: the scale gets a
    gradient. free_offset: offsets need not be whole, levels may lie anywhere. Errors: RecipeError for bits
    out of range.
    """

    name: ClassVar[str]
    symmetric_by_default: ClassVar[bool] = True
    learned: ClassVar[bool] = False

    bits: int
    symmetric: bool = True

    def __post_init__(self) -> None:
        require_bits(self.bits)

    @property
    def free_offset(self) -> bool:
        return False

    @property
    def count(self) -> int:
        """How many levels there are, n; codes are 0..n-1."""
        return 2**self.bits

    def fit(self, rows: Tensor) -> Levels:
        """Levels that span the rows (R, M), floating point."""
        raise NotImplementedError

    def codes(self, rows: Tensor, levels: Levels) -> Tensor:
        """The nearest level of each weight, (R, M), whole numbers 0..n-1 in the rows' dtype; no gradient."""
        steps = rows.detach() / positive(levels.scale)[:, None] - levels.offset[:, None]
        return steps.round().clamp(0, self.count - 1)

    def values(self, codes: Tensor, levels: Levels) -> Tensor:
        """The weights that codes stand for, (R, M)."""
        return (codes + levels.offset[:, None]) * levels.scale[:, None]

    def nearest(self, rows: Tensor, levels: Levels) -> Tensor:
        """The rows rounded to their levels, zeros kept, (R, M); no gradient."""
        if not self.bits:
            return torch.zeros_like(rows)
        return torch.where(rows == 0, 0.0, self.values(self.codes(rows, levels), levels)).detach()

    def __call__(self, rows: Tensor, levels: Levels) -> Tensor:
        """The rows rounded to their levels, zeros kept; the gradient passes straight (Bengio et al. 2013)."""
        # rows - rows.detach() is exactly zero: the value is the level, the gradient is the identity.
        return self.nearest(rows, levels) + (rows - rows.detach())

    def stored(self, levels: Levels) -> Levels:
        """The levels with scales of 12 significant bits: what a file keeps in two bytes a row."""
        return Levels(short(levels.scale), levels.offset)


def positive(scale: Tensor) -> Tensor:
    """The scale, 1 where it is 0: there is nothing to divide in a row of zeros."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def mean_magnitude(rows: Tensor) -> Tensor:
    """The mean |w| of each row's non-zeros, (R,); 0 for a row of zeros."""
    return rows.abs().sum(1) / (rows != 0).sum(1).clamp(min=1)


def short(values: Tensor, bits: int = 12) -> Tensor:
    """The nearest numbers with a mantissa of `bits` significant bits."""
    mantissa, exponent = torch.frexp(values.detach())
    return torch.ldexp((mantissa * 2**bits).round(), exponent - bits)
