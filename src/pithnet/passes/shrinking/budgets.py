"""What a network may cost without some channels: budgets, and how many channels go so that one is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from pithnet.errors import RecipeError
from pithnet.passes.shrinking.bill import Bill
from pithnet.passes.shrinking.choices import Choice
from pithnet.passes.shrinking.plan import GroupWidth, ShrinkPlan
from pithnet.passes.shrinking.search import Search, removed_at
from pithnet.passes.shrinking.weighing import Overweight, Weigh, largest_within
from pithnet.surgery import Channels, cut_channels


def require_one(**given: Any) -> None:
    """Refuses several budgets, or none.

    Raises:
        RecipeError: The number of values that are not None is not 1.
    """
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        *others, last = given
        found = " and ".join(named) or "none of them"
        raise RecipeError(f"give one of {', '.join(others)} and {last}, such as macs=0.5; given: {found}")


def check_amount(name: str, asked: float) -> None:
    """Refuses what is neither a share nor a count.

    Raises:
        RecipeError: `asked` is no number above 0 and up to 1, and no whole number above 1.
    """
    is_number = isinstance(asked, int | float) and not isinstance(asked, bool) and math.isfinite(asked)
    if not is_number or asked <= 0 or (asked > 1 and asked != int(asked)):
        raise RecipeError(f"{name} is a share above 0 and up to 1, or a whole number above 1, not {asked!r}")


def as_count(asked: float, full: int) -> int:
    """Returns a budget as a whole number: of a share, how much that is of the whole network's `full`."""
    return math.floor(asked * full * (1 + 1e-12)) if asked <= 1 else int(asked)


@dataclass(frozen=True, eq=False)
class Candidates:
    """All networks that a network may become by losing channels.

    Attributes:
        model: The network.
        example: Inputs, as `plan_shrink` takes them.
        channels: Its channels.
        groups: Those that decide, in the order of the forward.
        macs: What it costs in multiply-accumulates.
        parameters: What it costs in parameters.
        weigh: Gives the bytes that a network's file takes.
    """

    model: nn.Module
    example: Any
    channels: Channels
    groups: Sequence[Choice]
    macs: Bill
    parameters: Bill
    weigh: Weigh

    def within(self, search: Search, name: str, asked: float) -> list[int]:
        """Finds out how many channels of each group go so that a budget is kept.

        Args:
            search: What chooses the channels.
            name: "macs", "parameters" or "bytes".
            asked: The budget, a share or a count.

        Raises:
            RecipeError: The budget makes no sense or cannot be kept.
        """
        check_amount(name, asked)
        if name == "bytes":
            return self._within_bytes(search, asked)
        bill = self.macs if name == "macs" else self.parameters
        full, least = bill.total(self._whole), bill.total(removed_at(self.groups, [0.0] * len(self.groups)))
        budget = as_count(asked, full)
        if least > budget:
            raise _impossible(name, asked, least, full)
        return search(self.groups, bill, budget)

    def _within_bytes(self, search: Search, asked: float) -> list[int]:
        full = self.weigh(self.model)
        try:
            return largest_within(
                search,
                self.groups,
                self.parameters,
                as_count(asked, full),
                lambda removed: self.weigh(cut_channels(self.model, self.channels, self._gone(removed))),
            )
        except Overweight as e:
            raise _impossible("bytes", asked, e.args[0], full) from None

    @property
    def _whole(self) -> list[int]:
        return [0] * len(self.groups)

    def _gone(self, removed: Sequence[int]) -> frozenset[int]:
        pairs = zip(self.groups, removed, strict=True)
        return frozenset(number for choice, count in pairs for number in choice.order[:count])

    def plan(self, removed: Sequence[int]) -> ShrinkPlan:
        """Returns the plan in which so many channels of each group go."""
        gone = self._gone(removed)
        rows = tuple(
            GroupWidth(tuple(c.group.layers), c.group.width, c.group.width - count, c.whole)
            for c, count in zip(self.groups, removed, strict=True)
        )
        return ShrinkPlan(
            network=type(self.model).__name__,
            rows=rows,
            widths=MappingProxyType(self.channels.widths(gone)),
            macs=self.macs.total(removed),
            parameters=self.parameters.total(removed),
            full_macs=self.macs.total(self._whole),
            full_parameters=self.parameters.total(self._whole),
            removed=gone,
            channels=self.channels,
            model=self.model,
            example=self.example,
            weigh=self.weigh,
        )


def _impossible(name: str, asked: float, least: int, full: int) -> RecipeError:
    return RecipeError(
        f"{name}={asked:g} cannot be kept: with every layer at its least width {least:,} of {full:,} are "
        f"left ({least / full:.3g}); ask for more, or lower floor or round_to"
    )
