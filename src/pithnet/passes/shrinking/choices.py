"""How many channels each group may keep, and which go first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor, nn

from pithnet.errors import RecipeError, nearest
from pithnet.passes.shrinking.ranking import Ranking
from pithnet.patterns import any_matches
from pithnet.surgery import Channels, Group


@dataclass(frozen=True)
class Rules:
    """What widths are allowed.

    Attributes:
        round_to: A width is the original one or a multiple of this.
        floor: The least share of its outputs that a layer keeps.
        skip: Patterns of layers that keep all their outputs.
    """

    round_to: int
    floor: float
    skip: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """A group of channels as a decision.

    Attributes:
        group: The channels.
        options: How many of them may stay, in descending order; the first is all that are not gone already.
        whole: Why all have to stay; None where there is a choice.
        order: The channels' numbers, those first that go first.
        scores: Their scores, in the same order.
    """

    group: Group
    options: tuple[int, ...]
    whole: str | None
    order: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()

    def with_first(self, gone: frozenset[int]) -> Choice:
        """Returns the choice in which channels that are gone already go before all others, and stay gone."""
        pairs = sorted(zip(self.order, self.scores, strict=True), key=lambda pair: pair[0] not in gone)
        left = self.group.width - len(gone & set(self.group.channels))
        return replace(
            self,
            options=tuple(option for option in self.options if option <= left),
            order=tuple(number for number, _ in pairs),
            scores=tuple(score for _, score in pairs),
        )

    def at_most(self, share: float) -> int:
        """Returns the largest option of at most a share of all channels, or the least option."""
        limit = share * self.group.width * (1 + 1e-12)  # 0.3 of 10 is 3
        return next((option for option in self.options if option <= limit), self.options[-1])


def choices(model: nn.Module, channels: Channels, rules: Rules, ranking: Ranking) -> list[Choice]:
    """Returns a choice for each group of channels, in the order of the forward.

    Args:
        model: The network.
        channels: Its channels.
        rules: What widths are allowed.
        ranking: What scores the channels.

    Raises:
        RecipeError: The criterion is unknown or lacks data, a pattern of `skip` matches no layer, or a rule
            makes no sense.
        DataError: The data cannot be used.
        ModelError: A weight holds NaN or inf; the message names it.
    """
    ranking.check()
    _check(rules, channels)
    allowed = [_options(channels, group, rules) for group in channels.groups]
    for number, group in enumerate(channels.groups):
        if allowed[number][1] is None and not ranking.members(model, channels, group):
            allowed[number] = (
                (group.width,),
                f"no norm scales it, and {ranking.criterion} ranks by that",
            )
    free = [group for group, (_, whole) in zip(channels.groups, allowed, strict=True) if whole is None]
    scores = iter(ranking.scores(model, channels, free))
    return [
        _ranked(group, options, next(scores)) if whole is None else Choice(group, options, whole)
        for group, (options, whole) in zip(channels.groups, allowed, strict=True)
    ]


def _ranked(group: Group, options: tuple[int, ...], scores: Tensor) -> Choice:
    order = scores.sort(stable=True).indices
    numbers = tuple(group.channels[place] for place in order.tolist())
    return Choice(group, options, None, numbers, tuple(scores[order].tolist()))


def _check(rules: Rules, channels: Channels) -> None:
    if type(rules.round_to) is not int or rules.round_to < 1:
        raise RecipeError(f"round_to is a whole number of channels, 1 or more, not {rules.round_to!r}")
    if not isinstance(rules.floor, int | float) or not 0 <= rules.floor <= 1:
        raise RecipeError(f"floor is the share of its channels a layer keeps, 0 to 1, not {rules.floor!r}")
    layers = sorted(set(channels.makers.values()))
    for pattern in rules.skip:
        if not any_matches((pattern,), layers):
            raise RecipeError(f"skip: {pattern!r} matches no layer with channels.{nearest(pattern, layers)}")


def _options(channels: Channels, group: Group, rules: Rules) -> tuple[tuple[int, ...], str | None]:
    step = math.lcm(*(rules.round_to // math.gcd(rules.round_to, m) for m in group.layers.values()))
    width = group.width
    whole = _whole(channels, group, rules, step)
    if whole is not None:
        return (width,), whole
    least = max(step, math.ceil(rules.floor * width * (1 - 1e-12)))
    multiples = range((width - 1) // step * step, least - 1, -step)
    if not multiples:
        return (width,), f"no smaller multiple of {step} is above the floor"
    return (width, *multiples), None


def _whole(channels: Channels, group: Group, rules: Rules, step: int) -> str | None:
    """Says why all channels of a group have to stay, or returns None."""
    if group.frozen is not None:
        return group.frozen
    skipped = [layer for layer in group.layers if any_matches(rules.skip, (layer,))]
    if skipped:
        return f"{skipped[0]} is skipped"
    if group.width <= step:
        return f"no wider than {step}, which round_to asks for"
    for layer in group.layers:
        others = [other for other in channels.groups if layer in other.layers and other is not group]
        if others and any(o.width * o.layers[layer] % rules.round_to for o in (group, *others)):
            return f"parts of {layer} have other places to go to, and are no multiples of {rules.round_to}"
    return None
