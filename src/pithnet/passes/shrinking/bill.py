"""What a network costs with fewer channels, counted from its full-size costs without building it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pithnet.surgery import Channels, Costs, Group, held_tensors


@dataclass(frozen=True)
class Item:
    """A cost in proportion to the sizes of a tensor.

    Attributes:
        each: The cost of one number of the tensor.
        sizes: How many positions each axis has.
        shares: For each axis how many of its positions a channel of each group takes.
    """

    each: int
    sizes: tuple[int, ...]
    shares: tuple[Mapping[int, int], ...]

    def cost(self, removed: Sequence[int]) -> int:
        """Returns the cost when so many channels of each group are gone."""
        pairs = zip(self.sizes, self.shares, strict=True)
        return self.each * math.prod(
            size - sum(m * removed[group] for group, m in share.items()) for size, share in pairs
        )


@dataclass(frozen=True)
class Bill:
    """MACs, or parameters, as a function of the number of channels of each group that are gone.

    Attributes:
        items: What changes, or may.
        constant: What does not.
        unknown: Names of operations in the constant of which it is not known what they are in proportion to.
    """

    items: tuple[Item, ...]
    constant: int = 0
    unknown: tuple[str, ...] = ()

    def total(self, removed: Sequence[int]) -> int:
        """Returns the whole cost."""
        return self.constant + sum(item.cost(removed) for item in self.items)

    def saved(self, group: int, more: int, removed: Sequence[int]) -> int:
        """Returns what is saved where `more` channels of a group are gone beside those that are."""
        then = list(removed)
        then[group] += more
        touched = [item for item in self.items if any(group in share for share in item.shares)]
        return sum(item.cost(removed) - item.cost(then) for item in touched)


def bills(model: nn.Module, channels: Channels, groups: Sequence[Group], costs: Costs) -> tuple[Bill, Bill]:
    """Returns the bills of multiply-accumulates and of parameters.

    The multiply-accumulates of a layer are in proportion to the numbers of its weight, those of a function to
    the sizes that `Channels.products` has; others have nothing to do with channels that can go.

    Args:
        model: The network.
        channels: Its channels.
        groups: Those that decide, in order.
        costs: What it costs in its full size.
    """
    parameters, weights, constant = list[Item](), dict[str, Item](), 0
    for holders in held_tensors(model):
        shape = tuple(getattr(holders[0].module, holders[0].tensor).shape)
        key = holders[0].keys[0]
        shares = tuple(
            {number: group.share[place] for number, group in enumerate(groups) if place in group.share}
            for place in ((key, axis) for axis in range(len(shape)))
        )
        parameters.append(Item(1, shape, shares))
        for holder in holders:
            weights |= {path: parameters[-1] for path in holder.paths if holder.tensor == "weight"}
    macs, unknown = list[Item](), list[str]()
    for row in costs:
        weight = weights.get(row.name)
        size = weight.cost([0] * len(groups)) if weight else 0
        if weight is not None and size and row.macs % size == 0:
            found = [Item(row.macs // size, weight.sizes, weight.shares)]
        else:
            found = _products(channels.products.get(row.name, ()), groups, row.macs)
        macs += found
        constant += 0 if found else row.macs
        unknown += [row.name] if row.name in channels.products and row.macs and not found else []
    return Bill(tuple(macs), constant, tuple(unknown)), Bill(tuple(parameters))


def _products(each: Sequence[tuple[Any, ...]], groups: Sequence[Group], macs: int) -> list[Item]:
    """Returns the multiply-accumulates of products of tensors; none where they are not those of the sizes."""
    numbers = {channel: number for number, group in enumerate(groups) for channel in group.channels}
    items = [Item(1, *_sizes(sizes, numbers)) for sizes in each]
    total = sum(math.prod(item.sizes) for item in items)
    if not total or macs % total:
        return []
    return [Item(macs // total, item.sizes, item.shares) for item in items]


def _sizes(
    sizes: Sequence[Any], numbers: Mapping[int, int]
) -> tuple[tuple[int, ...], tuple[Mapping[int, int], ...]]:
    """Returns how large each size is, and how much of it a channel of each group takes."""
    whole, shares = [], []
    for size in sizes:
        channels = Counter(size.tolist()) if isinstance(size, Tensor) else Counter[int]()
        whole.append(len(size) if isinstance(size, Tensor) else size)
        shares.append({numbers[c]: count for c, count in channels.items() if c in numbers})
    return tuple(whole), tuple(shares)
