"""Channels in groups: those that go together as one, and those among which there is a choice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from pithnet.errors import ModelError, require_known
from pithnet.surgery.channels.components import components
from pithnet.surgery.channels.formulas import Formula, Written, evaluated, settled
from pithnet.surgery.channels.symbols import Argument, Book, Place, Size, varying

_Key = TypeVar("_Key")


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

    @property
    def name(self) -> str:
        """The first layer's name; where they are no layer's outputs, that of a tensor in which they lie."""
        return next(iter(self.layers), None) or next((place.key for place in self.share), "channels")


@dataclass(frozen=True, eq=False)
class Channels:
    """All channels of a network.

    Attributes:
        groups: All channels that some layer makes, each in one group.
        places: For each axis of a parameter or buffer along which channels lie the channel at each position,
            int64 (size,).
        sizes: The channels that an attribute of a module counts, int64 (size,).
        outputs: The channels that are a layer's outputs, by its name, int64 (size,). A weight that no module
            multiplies with is a layer under its own name.
        makers: The axes along which layers' outputs lie, with the layer's name.
        written: Numbers in the code of the forward that have to fit to the channels.
        products: For each call of a function that multiplies matrices, by its name in `costs`, the sizes in
            whose product its multiply-accumulates are.
        given: The example that the forward was followed with, without its tensors.
        count: Above every channel's number.
    """

    groups: tuple[Group, ...]
    places: dict[Place, Tensor]
    sizes: dict[Size, Tensor]
    outputs: dict[str, Tensor]
    makers: dict[Place, str]
    written: dict[Argument, Written]
    products: dict[str, list[tuple[Formula, ...]]]
    given: Mapping[str, Any]
    count: int

    def groups_of(self, layer: str) -> list[Group]:
        """Returns the groups that the outputs of a layer belong to.

        Raises:
            ModelError: No layer of that name makes channels; the nearest names are said.
        """
        require_known("layer with channels", layer, set(self.makers.values()), ModelError)
        return [group for group in self.groups if layer in group.layers]

    def widths(self, removed: Collection[int] = ()) -> dict[str, int]:
        """Returns how many outputs each layer has without the channels removed."""
        gone = self.gone(removed)
        return {layer: int((~gone[found]).sum()) for layer, found in self.outputs.items()}

    def kept_outputs(self, layer: str, removed: Collection[int]) -> Tensor:
        """Returns which outputs of a layer stay, int64."""
        return (~self.gone(removed)[self.outputs[layer]]).nonzero().flatten()

    def counts(self, removed: Collection[int]) -> dict[Size, int]:
        """Returns what each attribute that counts channels counts without those removed."""
        gone = self.gone(removed)
        return {size: int((~gone[found]).sum()) for size, found in self.sizes.items()}

    def rewritten(self, removed: Collection[int]) -> dict[Argument, int]:
        """Returns the numbers in the code of the forward that have to be others without some channels.

        Args:
            removed: The channels.
        """
        gone, inferring = self.gone(removed), set[str]()
        found = {}
        for argument, written in self.written.items():
            needed = evaluated(written.needed, gone)
            if evaluated(written.found, gone) != needed:
                infer = written.inferred and argument.node not in inferring
                inferring |= {argument.node} if infer else set()
                found[argument] = -1 if infer else needed
        return found

    def gone(self, removed: Collection[int]) -> Tensor:
        """Returns whether each channel, by its number, is removed, bool (count,)."""
        gone = torch.zeros(self.count, dtype=torch.bool)
        gone[torch.tensor(sorted(removed), dtype=torch.int64)] = True
        return gone


def grouped(book: Book, given: Mapping[str, Any]) -> Channels:
    """Puts channels with the same symbols together, and all that lie in the same layers into a group.

    Args:
        book: What was found out.
        given: The example that the forward was followed with, without its tensors.
    """
    numbers = _numbers(book)
    places = {place: numbers[symbols] for place, symbols in book.places.items()}
    sizes = {size: numbers[symbols] for size, symbols in book.sizes.items()}
    reasons: dict[int, str] = {}
    for symbols, reason in book.frozen:
        for number in numbers[symbols].tolist():
            reasons.setdefault(number, reason)
    outputs = {layer: numbers[symbols] for layer, symbols in book.outputs.items()}
    made = {number for place in book.makers for number in places[place].tolist()}
    signatures = _signatures(places, book.count)
    alike: dict[tuple[int, str | None], list[int]] = defaultdict(list)
    for number in sorted(made):
        alike[signatures[number], reasons.get(number)].append(number)
    first = [members[0] for members in alike.values()]
    groups = tuple(
        Group(width, tuple(members), share, reasons.get(members[0]))
        for members, width, share in zip(
            alike.values(),
            _shares(outputs, first, book.count),
            _shares(places, first, book.count),
            strict=True,
        )
    )
    written = {
        argument: Written(settled(w.found, numbers), settled(w.needed, numbers), w.inferred)
        for argument, w in book.written.items()
    }
    products = {
        name: [tuple(settled(size, numbers) for size in sizes) for sizes in each]
        for name, each in book.products.items()
    }
    makers = dict(book.makers)
    return Channels(groups, places, sizes, outputs, makers, written, products, given, book.count)


def _signatures(tables: Mapping[Any, Tensor], count: int) -> list[int]:
    """Returns a number for each channel, the same for those that stand as often in each table."""
    found, used = torch.zeros(count, dtype=torch.int64), 1
    for table in tables.values():
        channels, times = table.unique(return_counts=True)
        pairs = found[channels] * (len(table) + 1) + times
        _, places = pairs.unique(return_inverse=True)
        found[channels] = used + places
        used += len(channels)
    numbers: list[int] = found.tolist()
    return numbers


def _shares(tables: Mapping[_Key, Tensor], channels: Sequence[int], count: int) -> list[dict[_Key, int]]:
    """Returns for each channel how often it stands in each table where it does."""
    shares: list[dict[_Key, int]] = [{} for _ in channels]
    asked = torch.tensor(channels, dtype=torch.int64)
    for key, table in tables.items():
        for share, times in zip(shares, table.bincount(minlength=count)[asked].tolist(), strict=True):
            if times:
                share[key] = times
    return shares


def _numbers(book: Book) -> Tensor:
    """Returns for each symbol the lowest that goes with it, int64 (count,).

    Where symbols still lie along several axes of a tensor, those along all but one go together.
    """
    numbers = components(book.count, book.pairs)
    for symbols, axis in book.grids:
        found = numbers[symbols]
        if len(varying(found)) > 1:
            book.straight(found, axis)
            numbers = components(book.count, book.pairs)
    return numbers
