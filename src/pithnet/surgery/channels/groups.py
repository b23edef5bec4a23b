"""Channels in groups: those that go together as one, and those among which there is a choice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor

from pithnet.errors import ModelError, require_known
from pithnet.surgery.channels.symbols import Argument, Book, Place, Size

_Key = TypeVar("_Key")
OUTPUTS = ("out_channels", "out_features", "embedding_dim")


@dataclass(frozen=True)
class Group:
    """Channels that lie in the same layers: any of them may go, each from all these layers at once.

    Attributes:
        layers: Names of the layers whose outputs they are, in the order of the forward, each with how many of
            its outputs a channel is. That is more than one where convolutions or norms work in groups.
        channels: Numbers of the channels, as `Channels.places` has them, in order.
        share: How many positions each channel takes along each axis of a tensor, where it takes any.
        frozen: Why none of them can go; None where they can.
    """

    layers: dict[str, int]
    channels: tuple[int, ...]
    share: dict[Place, int]
    frozen: str | None = None

    @property
    def width(self) -> int:
        """How many channels there are."""
        return len(self.channels)


@dataclass(frozen=True, eq=False)
class Channels:
    """All channels of a network.

    Attributes:
        groups: All channels that some layer makes, each in one group.
        places: For each axis of a parameter or buffer along which channels lie the channel at each position,
            int64 (size,).
        sizes: The channels that an attribute of a module, or a number in the code of the forward, counts,
            int64 (size,).
        makers: The axes along which layers' outputs lie, with the layer's name.
        given: The example that the forward was followed with, without its tensors.
    """

    groups: tuple[Group, ...]
    places: dict[Place, Tensor]
    sizes: dict[Size | Argument, Tensor]
    makers: dict[Place, str]
    given: Mapping[str, Any]

    def groups_of(self, layer: str) -> list[Group]:
        """Returns the groups that the outputs of a layer belong to.

        Raises:
            ModelError: No layer of that name makes channels; the nearest names are said.
        """
        require_known("layer with channels", layer, set(self.makers.values()), ModelError)
        return [group for group in self.groups if layer in group.layers]

    def widths(self, removed: Collection[int] = ()) -> dict[str, int]:
        """Returns how many outputs each layer has without the channels removed."""
        return {size.layer: self.count(size, removed) for size in self.sizes if _is_output(size)}

    def kept(self, place: Place, removed: Collection[int]) -> Tensor:
        """Returns the positions along an axis that stay, int64."""
        return (~_table(removed, self.places)[self.places[place]]).nonzero().flatten()

    def kept_outputs(self, layer: str, removed: Collection[int]) -> Tensor:
        """Returns which outputs of a layer stay, int64."""
        outputs = {size.layer: found for size, found in self.sizes.items() if _is_output(size)}
        return (~_table(removed, self.sizes)[outputs[layer]]).nonzero().flatten()

    def count(self, size: Size | Argument, removed: Collection[int]) -> int:
        """Returns how many channels an attribute, or a number in the code, counts without those removed."""
        return int((~_table(removed, self.sizes)[self.sizes[size]]).sum())


def _is_output(size: Size | Argument) -> TypeGuard[Size]:
    return isinstance(size, Size) and size.attribute in OUTPUTS


def _table(removed: Collection[int], tables: Mapping[Any, Tensor]) -> Tensor:
    highest = max((int(found.max()) for found in tables.values() if found.numel()), default=0)
    gone = torch.zeros(max(highest, *removed, 0) + 1, dtype=torch.bool)
    gone[torch.tensor(sorted(removed), dtype=torch.int64)] = True
    return gone


def grouped(book: Book, given: Mapping[str, Any]) -> Channels:
    """Puts channels with the same symbols together, and all that lie in the same layers into a group.

    Args:
        book: What was found out.
        given: The example that the forward was followed with, without its tensors.
    """
    numbers = _components(book)
    places = {place: numbers[symbols] for place, symbols in book.places.items()}
    sizes = {size: numbers[symbols] for size, symbols in book.sizes.items()}
    reasons: dict[int, str] = {}
    for symbols, reason in book.frozen:
        for number in numbers[symbols].tolist():
            reasons.setdefault(number, reason)
    shares = _shares(places)
    outputs = _shares({size.layer: found for size, found in sizes.items() if _is_output(size)})
    made = {number for place in book.makers for number in places[place].tolist()}
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number in sorted(made):
        alike[(tuple(shares[number].items()), reasons.get(number))].append(number)
    groups = tuple(
        Group(
            outputs[members[0]],
            tuple(members),
            shares[members[0]],
            reasons.get(members[0]),
        )
        for members in alike.values()
    )
    return Channels(groups, places, sizes, dict(book.makers), given)


def _shares(tables: dict[_Key, Tensor]) -> dict[int, dict[_Key, int]]:
    """Counts how often each channel stands in each table."""
    shares: dict[int, dict[_Key, int]] = defaultdict(dict)
    for key, found in tables.items():
        for number, count in Counter(found.tolist()).items():
            shares[number][key] = count
    return shares


def _components(book: Book) -> Tensor:
    """Returns for each symbol the lowest that goes with it, int64 (count,)."""
    import networkx as nx  # it takes 0.3 s, which nothing else has to wait for

    graph = nx.Graph()
    for pairs in book.pairs:
        graph.add_edges_from(pairs.T.tolist())
    numbers = torch.arange(book.count)
    for together in nx.connected_components(graph):
        numbers[list(together)] = min(together)
    return numbers
