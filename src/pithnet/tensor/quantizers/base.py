"""The base of all quantizers: codes 0..n-1 for the weights of a row, and a scale and an offset for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from pithnet.errors import RecipeError

MAX_BITS = 8
_SHORT_BITS = 12


class Levels(NamedTuple):
    """The levels of R rows: level k of row r is (k + offset[r]) * scale[r].

    Attributes:
        scale: (R,) floating point, >= 0.
        offset: (R,) floating point.
    """

    scale: Tensor
    offset: Tensor


def require_bits(bits: int, most: int = MAX_BITS) -> None:
    """Checks a number of bits.

    Args:
        bits: A whole number from 0, for all zeros, to `most`.
        most: The highest number that is allowed.

    Raises:
        RecipeError: The bits are not such a number.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 0 <= bits <= most:
        raise RecipeError(
            f"bits must be from 1 to {most}, 0 for zeros or None to leave a layer as it is, not {bits}"
        )


@dataclass(frozen=True)
class Quantizer:
    """A rule that rounds each row (R, M) to its levels.

    A zero is a pruned weight: it stays exactly zero, whatever the levels.

    Attributes:
        name: Its key in `QUANTIZERS`.
        symmetric_by_default: What `symmetric` is where nothing is said.
        learned: Whether the scale gets a gradient.
        can_be_asymmetric: Whether it has levels for `symmetric` False.
        most_bits: The most bits that it takes.

    Args:
        bits: 1 to 8, or 0, which gives zeros.
        symmetric: Whether levels come in pairs of opposite sign.

    Raises:
        RecipeError: The bits are out of range.
    """

    name: ClassVar[str]
    symmetric_by_default: ClassVar[bool] = True
    learned: ClassVar[bool] = False
    can_be_asymmetric: ClassVar[bool] = True
    most_bits: ClassVar[int] = MAX_BITS

    bits: int
    symmetric: bool = True

    def __post_init__(self) -> None:
        require_bits(self.bits, self.most_bits)

    @property
    def free_offset(self) -> bool:
        """Whether offsets need not be whole, so that levels may lie anywhere."""
        return False

    @property
    def parts(self) -> int | None:
        """How many parts of a step a file's offsets are counted in; None where it keeps them as they are."""
        return None

    @property
    def count(self) -> int:
        """The number of levels, n; codes are 0..n-1."""
        return 2**self.bits

    def fit(self, rows: Tensor) -> Levels:
        """Returns levels that span the rows.

        Args:
            rows: (R, M), floating point.
        """
        raise NotImplementedError

    def codes(self, rows: Tensor, levels: Levels) -> Tensor:
        """Returns the nearest level of each weight, without a gradient.

        Args:
            rows: (R, M), floating point.
            levels: The levels of the rows.

        Returns:
            (R, M), whole numbers 0..n-1 in the rows' dtype.
        """
        steps = rows.detach() / positive(levels.scale)[:, None] - levels.offset[:, None]
        return steps.round().clamp(0, self.count - 1)

    def values(self, codes: Tensor, levels: Levels) -> Tensor:
        """Returns the weights (R, M) that codes stand for.

        Args:
            codes: (R, M), whole numbers 0..n-1 in a floating dtype.
            levels: The levels of the rows.
        """
        return (codes + levels.offset[:, None]) * levels.scale[:, None]

    def nearest(self, rows: Tensor, levels: Levels) -> Tensor:
        """Returns the rows (R, M) rounded to their levels, zeros kept, without a gradient."""
        if not self.bits:
            return torch.zeros_like(rows)
        return torch.where(rows == 0, 0.0, self.values(self.codes(rows, levels), levels)).detach()

    def __call__(self, rows: Tensor, levels: Levels) -> Tensor:
        """Returns the rows rounded to their levels, zeros kept; gradients pass straight through.

        Source of the straight-through gradient: Bengio et al. 2013.
        """
        # rows - rows.detach() is exactly zero: the value is the level, the gradient is the identity.
        return self.nearest(rows, levels) + (rows - rows.detach())

    def stored(self, levels: Levels) -> Levels:
        """Returns the levels with scales of 12 significant bits: a file keeps them in two bytes a row."""
        return Levels(short(levels.scale), levels.offset)


def positive(scale: Tensor) -> Tensor:
    """Returns the scale with 1 in place of 0: there is nothing to divide in a row of zeros."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def mean_magnitude(rows: Tensor) -> Tensor:
    """Returns the mean |w| of each row's non-zeros, (R,); 0 for a row of zeros."""
    return rows.abs().sum(1) / (rows != 0).sum(1).clamp(min=1)


def short(values: Tensor) -> Tensor:
    """Returns the nearest numbers with a mantissa of 12 significant bits."""
    mantissa, exponent = torch.frexp(values.detach())
    return torch.ldexp((mantissa * 2**_SHORT_BITS).round(), exponent - _SHORT_BITS)
