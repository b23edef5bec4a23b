"""All networks that a network may become by losing channels, and the one that a budget asks for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from pithnet.errors import ModelError
from pithnet.passes.file_size import Weigh
from pithnet.passes.shrinking.bill import Bill, bills
from pithnet.passes.shrinking.budgets import Asked
from pithnet.passes.shrinking.choices import Choice, Rules, choices
from pithnet.passes.shrinking.plan import GroupWidth, ShrinkPlan
from pithnet.passes.shrinking.ranking import Ranking
from pithnet.passes.shrinking.search import removed_at, shares_by_layer
from pithnet.passes.shrinking.weighing import Overweight, largest_within
from pithnet.surgery import Channels, Group, costs, cut_channels, find_channels, uncuttable, unwrapped


def plan_within(
    model: nn.Module,
    example: Any,
    asked: Asked,
    ranking: Ranking,
    rules: Rules,
    weigh: Weigh,
    gone: frozenset[int] = frozenset(),
) -> ShrinkPlan:
    """Plans a network that keeps a budget; see `plan_shrink`.

    Args:
        model: The network, which is left alone.
        example: Inputs, as `plan_shrink` takes them.
        asked: The budget.
        ranking: What makes the scores.
        rules: What widths are allowed.
        weigh: Gives the bytes of a network.
        gone: Numbers of channels that are gone already.

    Raises:
        RecipeError: As `plan_shrink` says.
        DataError: As `plan_shrink` says.
        ModelError: As `plan_shrink` says.
    """
    asked.check()
    ranking.check()
    model = unwrapped(model)
    channels = find_channels(model, example)
    groups = [choice.with_first(gone) for choice in choices(model, channels, rules, ranking)]
    _require_cuttable(model, channels, groups)
    both = bills(model, channels, channels.groups, costs(model, example))
    candidates = _Candidates(model, example, channels, groups, *both, weigh)
    return candidates.plan(candidates.gone(candidates.within(asked)))


def plan_without(model: nn.Module, example: Any, gone: Collection[int], weigh: Weigh) -> ShrinkPlan:
    """Returns the plan in which channels go that were chosen before.

    Args:
        model: The network, which is left alone.
        example: Inputs, as `plan_shrink` takes them.
        gone: The channels' numbers.
        weigh: Gives the bytes of a network.

    Raises:
        ModelError: The forward cannot be followed.
    """
    model = unwrapped(model)
    channels = find_channels(model, example)
    groups = [Choice(group, (group.width,), group.frozen) for group in channels.groups]
    both = bills(model, channels, channels.groups, costs(model, example))
    return _Candidates(model, example, channels, groups, *both, weigh).plan(frozenset(gone))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """What a network costs with any number of channels removed.

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

    def within(self, asked: Asked) -> list[int]:
        """Finds out how many channels of each group go so that a budget is kept.

        Raises:
            RecipeError: The budget cannot be kept, or names layers that cannot lose channels.
        """
        if asked.name == "rates":
            return removed_at(self.groups, shares_by_layer(self.groups, asked.rates))
        if asked.name == "bytes":
            return self._within_bytes(asked)
        bill = self.macs if asked.name == "macs" else self.parameters
        full, least = bill.total(self._whole), bill.total(removed_at(self.groups, [0.0] * len(self.groups)))
        if least > asked.count(full):
            raise asked.impossible(least, full, self._stay)
        return asked.search(self.groups, bill, asked.count(full))

    def _within_bytes(self, asked: Asked) -> list[int]:
        full = self.weigh(self.model) if asked.full_bytes is None else asked.full_bytes

        def weigh(removed: Sequence[int]) -> int:
            return self.weigh(cut_channels(self.model, self.channels, self.gone(removed)))

        try:
            return largest_within(asked.search, self.groups, self.parameters, asked.count(full), weigh)
        except Overweight as e:
            raise asked.impossible(e.args[0], full, self._stay) from None

    @property
    def _stay(self) -> str:
        """Says which layers cannot lose channels, and why; not of those that give the outputs."""
        frozen = [
            c.group for c in self.groups if c.group.frozen and "output of the network" not in c.group.frozen
        ]
        if not frozen:
            return ""
        named = "; ".join(f"{group.name}: {group.frozen}" for group in frozen[:4])
        return f"; these cannot lose channels: {named}" + ("; and others" if len(frozen) > 4 else "")

    @property
    def _whole(self) -> list[int]:
        return [0] * len(self.groups)

    def gone(self, removed: Sequence[int]) -> frozenset[int]:
        """Returns the numbers of the channels that go, where so many of each group do."""
        pairs = zip(self.groups, removed, strict=True)
        return frozenset(number for choice, count in pairs for number in choice.order[:count])

    def plan(self, gone: frozenset[int]) -> ShrinkPlan:
        """Returns the plan in which these channels go."""
        removed = [len(gone.intersection(choice.group.channels)) for choice in self.groups]
        rows = tuple(
            GroupWidth(tuple(c.group.layers), _shown(c.group), _shown(c.group) - count, c.whole)
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
            in_full=self.macs.unknown,
        )


def _shown(group: Group) -> int:
    """Returns how many channels there are; of those that stay together how many outputs they are."""
    return group.width * (max(group.layers.values(), default=1) if group.frozen else 1)


def _require_cuttable(model: nn.Module, channels: Channels, groups: Sequence[Choice]) -> None:
    free = [choice for choice in groups if choice.whole is None]
    if not free:
        reasons = "; ".join(f"{c.group.name}: {c.whole}" for c in groups[:3])
        raise ModelError(f"no layer of {type(model).__name__} can lose channels ({reasons or 'it has none'})")
    refused = uncuttable(model, channels)
    for choice in free:
        for place in choice.group.share:
            if place in refused:
                skip = choice.group.name
                raise ModelError(f"{refused[place]}; shrink before quantizing, or add {skip!r} to skip")
