"""What a level costs in bits beside the levels to its left and above it, as a context coder would have it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

CONTEXTS = 5
_MIRRORED = [0, 2, 1, 4, 3]  # the context of the same levels with their signs changed
_OWN = 10.0  # levels that the layer's distribution counts for, in a context's own
_LAPLACE = 0.02  # of the layer's levels, as many as its Laplace distribution counts for
_LEAST = 8.0  # levels, at least


@dataclass(frozen=True)
class Neighbours:
    """Which columns of a weight matrix (O, K) stand to the left of and above each column.

    Attributes:
        left: int64 (K,), the column's number, or K where there is none.
        above: int64 (K,), likewise.
    """

    left: Tensor
    above: Tensor

    @classmethod
    def none(cls, columns: int, device: torch.device | None = None) -> Neighbours:
        """Returns columns that know nothing of each other."""
        nobody = torch.full((columns,), columns, device=device)
        return cls(nobody, nobody)

    @classmethod
    def of_kernels(
        cls, columns: int, height: int, width: int, device: torch.device | None = None
    ) -> Neighbours:
        """Returns the neighbours within kernels (height, width), whose entries are neighbouring columns.

        Args:
            columns: K, a multiple of height * width.
            height: Of a kernel; 1 where nothing stands above.
            width: Of a kernel.
            device: Where the numbers lie.
        """
        place = torch.arange(columns, device=device)
        left = torch.where(place % width > 0, place - 1, columns)
        return cls(left, torch.where(place // width % height > 0, place - width, columns))

    @cached_property
    def right(self) -> Tensor:
        """The columns to whose left each column stands, int64 (K,); K where there is none."""
        return _inverse(self.left)

    @cached_property
    def below(self) -> Tensor:
        """The columns that each column stands above, int64 (K,); K where there is none."""
        return _inverse(self.above)


def _inverse(of: Tensor) -> Tensor:
    columns = len(of)
    found = torch.full((columns + 1,), columns, device=of.device)
    found[of] = torch.arange(columns, device=of.device)
    found[columns] = columns
    return found[:columns].contiguous()


@dataclass(frozen=True)
class Rates:
    """Bits of every level -reach..reach in each of five contexts.

    A context is the sign of the sum of the levels to the left and above, and whether it is beyond `far`: 0
    for a sum of zero, 1 below, 2 above, 3 far below, 4 far above. A neighbour that is not there counts as 0.

    Attributes:
        bits: (CONTEXTS, 2 reach + 1).
        far: How large a sum is still near.
    """

    bits: Tensor
    far: float

    @property
    def reach(self) -> int:
        """The largest level; the least is its negative."""
        return self.bits.shape[1] // 2

    @classmethod
    def laplace(cls, mean: Tensor, reach: int) -> Rates:
        """Returns the bits of a Laplace distribution of levels, the same in all contexts.

        Args:
            mean: The mean magnitude of the levels, a scalar.
            reach: The largest level.
        """
        return cls(-_laplace(mean, reach).log2().expand(CONTEXTS, -1).contiguous(), 0.0)

    @classmethod
    def of(cls, levels: Tensor, neighbours: Neighbours, reach: int) -> Rates:
        """Returns what levels would cost that are as frequent, in each context, as these are.

        Frequencies are those of levels and of their negatives in the mirrored context together; few of a
        context are filled up by those of all, and these by a Laplace distribution.

        Args:
            levels: int64 (O, K).
            neighbours: Of its columns.
            reach: The largest level.
        """
        values, size = levels.double(), 2 * reach + 1
        far = round(2 * float(values.std(unbiased=False))) / 2
        context = cls(values.new_zeros(CONTEXTS, size), far).contexts(levels, neighbours)
        seen = torch.bincount((context * size + levels + reach).flatten(), minlength=CONTEXTS * size)
        counts = seen.view(CONTEXTS, size).double()
        counts = (counts + counts[_MIRRORED].flip(1)) / 2
        weight = max(_LAPLACE * levels.numel(), _LEAST)
        prior = counts.sum(0) + weight * _laplace(values.abs().mean(), reach)
        own = counts + _OWN * prior / prior.sum()
        return cls(-(own / own.sum(1, keepdim=True)).log2().float(), far)

    @cached_property
    def of_sum(self) -> Tensor:
        """The context for sums -2 reach..2 reach of two levels, as the index of its level 0 in `bits`."""
        sums = torch.arange(-2 * self.reach, 2 * self.reach + 1, device=self.bits.device)
        sign = 2 * (sums > 0) + (sums < 0)
        context = sign + 2 * (sums.abs() > max(self.far, 0.25)) * (sums != 0)
        return context * self.bits.shape[1] + self.reach

    def contexts(self, levels: Tensor, neighbours: Neighbours) -> Tensor:
        """Returns the context of each of the levels, int64 (O, K)."""
        padded = torch.cat([levels, levels.new_zeros(len(levels), 1)], 1)
        sums = padded[:, neighbours.left] + padded[:, neighbours.above]
        return self.of_sum.take(sums + 2 * self.reach) // self.bits.shape[1]

    def total(self, levels: Tensor, neighbours: Neighbours) -> Tensor:
        """Returns the bits of all levels together, a scalar.

        Args:
            levels: int64 (O, K).
            neighbours: Of its columns.
        """
        return self.bits[self.contexts(levels, neighbours), levels + self.reach].double().sum()

    def slopes(self, scaled: Tensor, neighbours: Neighbours) -> Tensor:
        """Returns how fast the bits of each weight rise with it, in bits a level, (O, K).

        Between two levels the bits are those of rounding up or down by chance, so that the mean is the weight
        (Gupta et al. 2015, section 3.1): a straight line from the bits of the one to those of the other.
        Neighbours are what they are when rounded.

        Args:
            scaled: (O, K), weights in units of their steps; one beyond `reach` counts as that.
            neighbours: Of its columns.
        """
        scaled = scaled.clamp(-self.reach, self.reach)
        context, sign = self.contexts(scaled.round().long(), neighbours), scaled.sign().long()
        below = scaled.abs().floor().long().clamp(max=self.reach - 1)
        flat, zero = self.bits.flatten(), context * self.bits.shape[1] + self.reach
        rise = flat.take(zero + sign * (below + 1)) - flat.take(zero + sign * below)
        return sign * rise


def _laplace(mean: Tensor, reach: int) -> Tensor:
    """Returns the probabilities (2 reach + 1,) of a two-sided geometric distribution of this mean |level|."""
    mean = mean.clamp(min=1e-3)
    # Of p ~ r^|q| the mean magnitude is 2 r / (1 - r^2).
    ratio = ((1 + mean**2).sqrt() - 1) / mean
    places = torch.arange(-reach, reach + 1, device=mean.device).abs()
    return (places * ratio.clamp(max=1 - 1e-6).log()).softmax(0).clamp(min=1e-30)
