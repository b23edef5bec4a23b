"""Fake quantizers of weights: a parametrization that rounds a weight to few levels in every forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError, PithError
from pithnet.tensor.quantizers import (
    FAMILY,
    GROUP_SIZE,
    Levels,
    Quantizer,
    from_rows,
    require_granularity,
    to_rows,
)

_FIELDS = 4  # of a state, before the axes of channels that are not the first
_TENSOR, _CHANNEL = 0, 1  # in a state, where a group has its size, which is 2 or more


def is_quantizer_state(state: object) -> bool:
    """Tells whether this is of the form that `FakeQuantizer.get_extra_state` gives."""
    return (
        isinstance(state, Tensor) and state.ndim == 1 and len(state) >= _FIELDS and state.dtype == torch.int64
    )


class FakeQuantizer(nn.Module):
    """A parametrization that rounds a weight to its levels, zeros kept; gradients are the quantizer's.

    Args:
        quantizer: What rounds.
        granularity: Which weights share a step; see `tensor.quantizers.to_rows`.
        group_size: Weights per group.
        levels: Fixed ones, or None for levels that follow the weight: fitted anew in every forward pass.
            Where the quantizer learns its scales these are a parameter, else a buffer.
        axes: Where the weight's channels lie (`Weighted.channel_axes`).

    Raises:
        RecipeError: The granularity is unknown, or a group has fewer than two weights.
    """

    scale: Tensor | None
    offset: Tensor | None

    def __init__(
        self,
        quantizer: Quantizer,
        granularity: str,
        group_size: int = GROUP_SIZE,
        levels: Levels | None = None,
        axes: Sequence[int] = (0,),
    ) -> None:
        super().__init__()
        require_granularity(granularity, group_size)
        self.axes = tuple(axes)
        self.quantizer, self.granularity, self.group_size = quantizer, granularity, group_size
        self.register_buffer("scale", None)
        self.register_buffer("offset", None)
        if levels is not None:
            self.fix(levels)

    @classmethod
    def from_state(
        cls, weight: Tensor, kind: Tensor, scale: Tensor | None, offset: Tensor | None
    ) -> FakeQuantizer:
        """Returns the fake quantizer of a weight in a state_dict.

        Args:
            weight: The weight.
            kind: What its `get_extra_state` gave.
            scale: (R,), or None where the levels follow the weight.
            offset: (R,), or None.

        Raises:
            ModelError: The kind is none, or the levels have another number of rows.
        """
        place, bits, symmetric, size, *axes = kind.tolist()
        granularity = {_TENSOR: "tensor", _CHANNEL: "channel"}.get(size, "group")
        try:
            quantizer = dict(enumerate(FAMILY))[place](bits, bool(symmetric))
            part = cls(quantizer, granularity, max(size, 2), axes=axes or (0,))
            rows = len(part.rows(weight))
        except (PithError, KeyError, IndexError, RuntimeError):
            raise ModelError(f"the state has a fake quantizer of an unknown kind {kind.tolist()}") from None
        if scale is not None and offset is not None:
            if scale.shape != (rows,) or offset.shape != (rows,):
                raise ModelError(f"the state has {scale.numel()} scales for the {rows} rows of a weight")
            part.fix(Levels(scale, offset))
        return part

    def get_extra_state(self) -> Tensor:
        """Returns the quantizer's place in FAMILY, bits, symmetric, granularity, axes: int64 (4 or more,).

        The granularity is 0 per tensor, 1 per channel or the group's size; axes of channels are there where
        they are not the first alone. This is no buffer: averaging weights averages those.
        """
        size = {"tensor": _TENSOR, "channel": _CHANNEL}.get(self.granularity, self.group_size)
        symmetric = int(self.quantizer.symmetric)
        place, axes = FAMILY.index(type(self.quantizer)), () if self.axes == (0,) else self.axes
        return torch.tensor([place, self.quantizer.bits, symmetric, size, *axes])

    def set_extra_state(self, state: Tensor) -> None:
        """Checks that a state is of this very quantizer.

        Raises:
            ModelError: The state is of another quantizer: then `restore` is the way to load it.
        """
        if state.tolist() != self.get_extra_state().tolist():
            raise ModelError("the state is of a model quantized otherwise; load it with pithnet.restore")

    def fix(self, levels: Levels) -> None:
        """Keeps these levels from now on: scales (R,) and offsets (R,) of the weight's rows."""
        if self.scale is None and self.quantizer.learned:
            del self.scale
            self.scale = nn.Parameter(levels.scale.detach().clone())
        elif self.scale is None:
            self.scale = levels.scale.detach().clone()
        else:
            self.scale.detach().copy_(levels.scale)
        self.offset = levels.offset.detach().clone()

    def levels(self, rows: Tensor) -> Levels:
        """Returns the levels of rows (R, M): the fixed ones, or those fitted to them."""
        if self.scale is None or self.offset is None:
            return self.quantizer.fit(rows)
        return Levels(self.scale.abs(), self.offset)  # a learned step may cross zero

    @torch.no_grad()
    def settle(self, weight: Tensor) -> None:
        """Fixes the levels for the weight it is given, in the form that a file stores."""
        self.fix(self.quantizer.stored(self.levels(self.rows(weight))))

    def keeps(self, axis: int) -> str | None:
        """Says why no entry along an axis of the weight can be taken off; None where some can.

        Args:
            axis: The axis.
        """
        if self.granularity == "group":
            return "rounds neighbouring weights in groups, which would be others"
        lies_along = self.granularity == "channel" and axis in self.axes
        return "has a scale for each entry of several axes" if lies_along and len(self.axes) > 1 else None

    def taken(self, axis: int, index: Tensor) -> FakeQuantizer:
        """Returns the quantizer of a weight of which only the entries `index`, int64, along an axis are left.

        Levels per channel go with their channels; a level that follows the weight follows what is left.
        """
        part = FakeQuantizer(self.quantizer, self.granularity, self.group_size, axes=self.axes)
        if self.scale is not None and self.offset is not None:
            kept = slice(None)
            if self.granularity == "channel" and self.axes == (axis,):
                kept = index.to(self.scale.device)  # type: ignore[assignment]
            part.fix(Levels(self.scale[kept], self.offset[kept]))
            assert part.scale is not None
            part.scale.requires_grad_(self.scale.requires_grad)
        return part.train(self.training)

    def rows(self, weight: Tensor) -> Tensor:
        """Returns the weight as rows (R, M) with a scale each."""
        return to_rows(weight, self.granularity, self.group_size, self.axes)

    def from_rows(self, rows: Tensor, like: Tensor) -> Tensor:
        """Returns the weight, of the shape of `like`, whose `rows` these are."""
        return from_rows(rows, like, self.axes)

    @torch.no_grad()
    def used_codes(self, weight: Tensor) -> Tensor:
        """Returns which of its row's levels each weight has that does not become zero, (k,)."""
        rows = self.rows(weight)
        levels = self.levels(rows)
        return self.quantizer.codes(rows, levels)[self.quantizer(rows, levels) != 0]

    def forward(self, weight: Tensor) -> Tensor:
        rows = self.rows(weight)
        return self.from_rows(self.quantizer(rows, self.levels(rows)), weight)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Returns the weight itself."""
        return weight
