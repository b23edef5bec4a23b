"""Parametrizations of a layer's weight (torch.nn.utils.parametrize): how compression lives on it.

Every training loop, optimizer and state_dict keeps working, and the zeros and levels stay, because the
layer's `weight` is computed from them in every forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pithnet.surgery.weights.fake_quantizers import FakeQuantizer


class Mask(nn.Module):
    """A parametrization that keeps the weight where `mask` is True and gives exact zero elsewhere.

    The mask is a bool buffer of the weight's shape. Pruned weights get no gradient, unless `recoverable`:
    then the gradient passes straight through, a pruned weight goes on learning and can come back when the
    mask is drawn again (Guo, Yao & Chen 2016, eq. 3).
    """

    mask: Tensor

    def __init__(self, mask: Tensor, recoverable: bool = False) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.recoverable = recoverable

    def forward(self, weight: Tensor) -> Tensor:
        # torch.where, not a product: 0 * inf is NaN and 0 * -1 is -0.0.
        masked = torch.where(self.mask, weight, 0.0)
        return weight + (masked - weight).detach() if self.recoverable else masked

    def taken(self, axis: int, index: Tensor) -> Mask:
        """Returns the mask of a weight of which only the entries `index`, int64, along an axis are left."""
        return Mask(self.mask.index_select(axis, index.to(self.mask.device)), self.recoverable)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Returns the weight itself."""
        return weight

    def get_extra_state(self) -> Tensor:
        """Returns `recoverable`, so that a training continued from its state_dict ranks the same weights."""
        return torch.tensor(self.recoverable)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes `recoverable` from a state_dict."""
        self.recoverable = bool(state)


class Codebook(nn.Module):
    """A parametrization from centroids (K,) to a weight: each weight is the centroid its index names.

    The trainable tensor under the parametrization is the codebook itself, so a centroid's gradient is the sum
    over its members (Han, Mao & Dally 2016, section 3.3). `index` has the weight's shape, and its numbers are
    0..K, uint8 or int32; 0 is exact zero. It is in a state_dict, too.

    The buffer holds 2 index + 1, because AveragedModel(use_buffers=True) averages integers as well: 0.9 i +
    0.1 i is cut to i - 1 for some i, and 2 i and 2 i + 1 both stand for i.
    """

    slots: Tensor

    def __init__(self, index: Tensor, centroids: Tensor) -> None:
        super().__init__()
        self._k = len(centroids)
        self.register_buffer("slots", self._slots(index))
        self._initial: Tensor | None = centroids

    @property
    def index(self) -> Tensor:
        """The centroid of each weight, from 1, and 0 for zero; integers of the weight's shape."""
        return (self.slots >> 1).to(torch.uint8 if self._k < 256 else torch.int32)

    def _slots(self, index: Tensor) -> Tensor:
        return 2 * index.to(torch.uint8 if 2 * self._k + 1 < 256 else torch.int32) + 1

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[f"{prefix}slots"]
        destination[f"{prefix}index"] = self.index

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        if f"{prefix}index" in state_dict:
            state_dict[f"{prefix}slots"] = self._slots(state_dict.pop(f"{prefix}index"))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, centroids: Tensor) -> Tensor:
        table = torch.cat([centroids.new_zeros(1), centroids])
        return _look_up(table[:, None].expand(-1, 2).flatten(), self.slots.int())

    def taken(self, axis: int, index: Tensor) -> Codebook:
        """Returns the codebook of a weight of which only the entries `index`, int64, along an axis are left.

        The centroids stay, those without a member too.
        """
        taken = self.index.index_select(axis, index.to(self.slots.device))
        part = Codebook(taken, taken.new_zeros(self._k))
        part._initial = None
        return part

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Returns the centroids (K,) closest to `weight`: means of their members, 0 where there are none."""
        if self._initial is not None:
            centroids, self._initial = self._initial, None
            return centroids.to(weight.dtype).clone()
        flat, size = self.index.flatten().long(), self._k + 1
        # In half precision a sum stalls where the next member is less than half of its last digit.
        sums = flat.new_zeros(size, dtype=torch.float64).index_add_(0, flat, weight.flatten().double())
        return (sums / flat.bincount(minlength=size).clamp(min=1))[1:].to(weight.dtype)


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """Returns table[index], its gradient summed in the order of the index, so that trainings repeat exactly.

    The gradient of plain indexing is added up by threads in whatever order they come.
    """
    return table.index_select(0, index.flatten()).view(index.shape)


class TrainedLevels(nn.Module):
    """A parametrization that rounds a weight to the nearest level, zeros kept; weight and levels train.

    The gradient reaches the full-precision weight straight through the rounding (Bengio et al. 2013) and each
    level as the sum over its members. `prices` (K,) is what choosing a level costs in squared distance: with
    rate_weight * code length it makes the choice that of entropy-constrained quantization (Chou, Lookabaugh &
    Gray 1989).
    """

    prices: Tensor

    def __init__(self, levels: Tensor, prices: Tensor) -> None:
        super().__init__()
        self.levels = nn.Parameter(levels.clone())
        self.register_buffer("prices", prices.clone())

    def nearest(self, weight: Tensor) -> Tensor:
        """Returns the indices into `levels`, int64 of the weight's shape."""
        weight = weight.detach()
        chosen = torch.zeros(weight.shape, dtype=torch.int64, device=weight.device)
        least = torch.full_like(weight, torch.inf)
        # Level by level: costs of all of them at once would be K times the memory of the weights.
        for i, (level, price) in enumerate(zip(self.levels.detach(), self.prices, strict=True)):
            cost = (weight - level).square_().add_(price)
            closer = cost < least
            chosen.masked_fill_(closer, i)
            least = torch.where(closer, cost, least)
        return chosen

    def forward(self, weight: Tensor) -> Tensor:
        chosen = _look_up(self.levels, self.nearest(weight))
        # weight - weight.detach() is exactly zero: the value is the level, the gradient is the identity.
        return torch.where(weight == 0, 0.0, chosen + (weight - weight.detach()))

    def taken(self, axis: int, index: Tensor) -> TrainedLevels:
        """Returns itself: levels know nothing of the weight's shape."""
        return self

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Returns the weight itself."""
        return weight


PARAMETRIZATIONS = (Mask, Codebook, TrainedLevels, FakeQuantizer)
