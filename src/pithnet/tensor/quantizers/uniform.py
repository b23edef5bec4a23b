"""Evenly spaced levels: the affine grid of runtimes, and straight-through with dynamic scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pithnet.tensor.quantizers.base import Levels, Quantizer, mean_magnitude, positive, short


@dataclass(frozen=True)
class Linear(Quantizer):
    """Whole multiples of a step, zero too: what integer arithmetic computes with (Jacob et al. 2018, eq. 1).

    Symmetric levels are -(2^(b-1) - 1)..2^(b-1) - 1 times the step, 127 for 8 bits; with 1 bit they are the
    two levels +-mean |w| (Rastegari et al. 2016, eq. 6). Asymmetric ones are 2^b levels from the smallest to
    the largest weight, with a whole zero point. A weight beyond the levels gets no gradient.
    """

    name: ClassVar[str] = "linear"

    @property
    def count(self) -> int:
        return 2**self.bits - 1 if self.symmetric and self.bits > 1 else 2**self.bits

    def fit(self, rows: Tensor) -> Levels:
        rows = rows.detach()
        if self.symmetric and self.bits == 1:
            mean = mean_magnitude(rows)
            return Levels(2 * mean, torch.full_like(mean, -0.5))
        if self.symmetric:
            scale = rows.abs().amax(1) / max(2 ** (self.bits - 1) - 1, 1)
            return Levels(scale, torch.full_like(scale, -(self.count // 2)))
        low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
        scale = (high - low) / max(self.count - 1, 1)
        return Levels(scale, (low / positive(scale)).round().clamp(1 - self.count, 0))

    def codes(self, rows: Tensor, levels: Levels) -> Tensor:
        """Returns the nearest level of each weight.

        Ties go where torch's fake quantizer and ONNX's QuantizeLinear put them.

        Args:
            rows: (R, M), floating point.
            levels: The levels of the rows.

        Returns:
            (R, M), whole numbers in the rows' dtype.
        """
        if not self._has_zero:
            return super().codes(rows, levels)
        # At least in float32: half precision has too few digits for the ties, float16 no 1 / scale.
        exact = torch.promote_types(rows.dtype, torch.float32)
        steps = rows.detach().to(exact) * (1 / positive(levels.scale.to(exact)))[:, None]
        return (steps.round() - levels.offset[:, None]).clamp(0, self.count - 1).to(rows.dtype)

    @property
    def _has_zero(self) -> bool:
        """Tells whether zero is a level: it is, but for one symmetric bit and for no bits."""
        return self.bits > 1 or (self.bits == 1 and not self.symmetric)

    def __call__(self, rows: Tensor, levels: Levels) -> Tensor:
        if not self._has_zero:
            return super().__call__(rows, levels)
        scale, zero_point = positive(levels.scale.detach().float()), (-levels.offset).to(torch.int32)
        # In float32, which is all that torch's quantizer takes; the rows keep their dtype.
        rounded = torch.fake_quantize_per_channel_affine(
            rows.float(), scale, zero_point, 0, 0, self.count - 1
        )
        return rounded.to(rows.dtype)


@dataclass(frozen=True)
class Fine(Linear):
    """Whole multiples of a step, up to 2,047 a side: what rate-aware rounding gives, and a file's grids hold.

    It is not among the quantizers that are asked for by name: few of so many levels are used, and which of
    them is chosen by what they cost.
    """

    name: ClassVar[str] = "fine"
    can_be_asymmetric: ClassVar[bool] = False
    most_bits: ClassVar[int] = 12


@dataclass(frozen=True)
class Dynamic(Quantizer):
    """2^b levels evenly spaced from the smallest to the largest of the non-zero weights.

    With alpha = max - min, beta = min and ws = (w - beta) / alpha, a weight becomes round((2^b - 1) ws) /
    (2^b - 1), scaled back, so zero need not be a level. Symmetric levels go from -max |w| to max |w|.
    """

    name: ClassVar[str] = "dynamic"
    symmetric_by_default: ClassVar[bool] = False

    @property
    def free_offset(self) -> bool:
        return self.bits > 0 and not self.symmetric

    def fit(self, rows: Tensor) -> Levels:
        rows = rows.detach()
        kept, steps = rows != 0, max(self.count - 1, 1)
        high = torch.where(kept, rows, -torch.inf).amax(1)
        low = torch.where(kept, rows, torch.inf).amin(1)
        low, high = (torch.where(kept.any(1), bound, 0.0) for bound in (low, high))
        if self.symmetric:
            high = torch.maximum(-low, high)
            low = -high
        # Where all weights of a row are one value, that value is the level: any step will do.
        scale = torch.where(high > low, (high - low) / steps, low.abs())
        return Levels(scale, low / positive(scale))

    @property
    def parts(self) -> int:
        """The number of parts into which a step is divided for the offsets that a file keeps."""
        return int(min(16, 2 ** (8 - self.bits)))

    def stored(self, levels: Levels) -> Levels:
        """Returns short scales, and offsets in whole parts of a step, so that all is on one grid."""
        parts = self.parts
        scale = short(levels.scale)
        beta = levels.offset * levels.scale
        return Levels(scale, (beta / positive(scale) * parts).round() / parts)
