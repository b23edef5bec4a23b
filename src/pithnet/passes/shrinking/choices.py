"""How many channels each group may keep, and which go first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError, RecipeError, lookup, nearest
from pithnet.patterns import any_matches
from pithnet.surgery import Channels, Group
from pithnet.tensor import CHANNEL_CRITERIA


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
        options: How many of them may stay, in descending order; the first is all of them.
        whole: Why all have to stay; None where there is a choice.
        order: The channels' numbers, those first that go first.
        scores: Their scores, in the same order.
    """

    group: Group
    options: tuple[int, ...]
    whole: str | None
    order: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()

    def at_most(self, share: float) -> int:
        """Returns the largest option of at most a share of all channels, or the least option."""
        limit = share * self.group.width * (1 + 1e-12)  # 0.3 of 10 is 3
        return next((option for option in self.options if option <= limit), self.options[-1])


def choices(model: nn.Module, channels: Channels, rules: Rules, criterion: str, seed: int) -> list[Choice]:
    """Returns a choice for each group of channels, in the order of the forward.

    Args:
        model: The network.
        channels: Its channels.
        rules: What widths are allowed.
        criterion: The name of one of `tensor.CHANNEL_CRITERIA`.
        seed: Of the criterion's random numbers.

    Raises:
        RecipeError: The criterion is unknown, a pattern of `skip` matches no layer, or a rule makes no sense.
        ModelError: A weight holds NaN or inf; the message names it.
    """
    score = lookup("criterion", criterion, CHANNEL_CRITERIA, RecipeError)
    _check(rules, channels)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for group in channels.groups:
        options, whole = _options(channels, group, rules)
        if whole is not None:
            found.append(Choice(group, options, whole))
            continue
        scores = score(_members(model, channels, group), generator)
        order = scores.sort(stable=True).indices.tolist()
        numbers = tuple(group.channels[place] for place in order)
        found.append(Choice(group, options, None, numbers, tuple(scores[order].tolist())))
    return found


def _check(rules: Rules, channels: Channels) -> None:
    if not isinstance(rules.round_to, int) or rules.round_to < 1:
        raise RecipeError(f"round_to is a whole number of channels, 1 or more, not {rules.round_to!r}")
    if not 0 <= rules.floor <= 1:
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


def _members(model: nn.Module, channels: Channels, group: Group) -> list[Tensor]:
    """Returns the weights of a group's channels, (channels, weights) for each layer, on the CPU."""
    members = []
    for place in channels.makers:
        if place not in group.share:
            continue
        path, _, name = place.key.rpartition(".")
        weight: Tensor = getattr(model.get_submodule(path), name).detach()
        if not bool(torch.isfinite(weight).all()):
            raise ModelError(f"{place.key} holds NaN or inf; train or export the model again")
        at = channels.places[place]
        own = torch.isin(at, torch.tensor(group.channels)).nonzero().flatten()
        own = own[at[own].argsort(stable=True)]
        rows = weight.movedim(place.axis, 0)[own.to(weight.device)].reshape(group.width, -1).cpu()
        members.append(rows.to(torch.promote_types(rows.dtype, torch.float32)))
    return members
