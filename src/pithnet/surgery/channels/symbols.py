"""Symbols: an integer for each number of an activation, the same for all numbers that are one channel's.

A tensor of symbols has the shape of the activation it stands for, so whatever moves numbers moves symbols.
Nearly all of it is a view of one integer per channel (`spread`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pithnet.surgery.channels.formulas import Formula, Written


_MANY = 100_000  # pairs of which those that stand there several times are dropped


class Blocked(Exception):
    """An operation lets no channel go; its message says why."""


class Place(NamedTuple):
    """An axis of a tensor of the network.

    Attributes:
        key: The tensor's name in a plain state_dict; the first one where it has several.
        axis: The axis.
    """

    key: str
    axis: int


class Size(NamedTuple):
    """An attribute of a module that counts channels.

    Attributes:
        layer: The module's name.
        attribute: The attribute's name.
    """

    layer: str
    attribute: str


class Argument(NamedTuple):
    """A number in the code of a forward that counts channels.

    Attributes:
        node: The name of the node in the network's graph.
        path: The argument's place or name, and the places within it; of a slice "start" or "stop".
    """

    node: str
    path: tuple[int | str, ...]


@dataclass
class Book:
    """All that is found out about the symbols while a network is followed.

    Attributes:
        count: How many symbols there are.
        pairs: Symbols that stay or go together: int64 (2, n).
        frozen: Symbols that cannot go, with the reason.
        places: The symbol of each position along an axis of a parameter or buffer, int64 (size,).
        sizes: The symbols that an attribute of a module counts, int64 (size,).
        outputs: The symbols of a layer's outputs, by the layer's name, int64 (size,).
        makers: The axes along which the outputs of layers lie, with the layer's name.
        grids: Symbols that lie along several axes of a tensor, with the axis along which they stay apart
            where nothing else decides it.
        written: The numbers in the code of the forward that have to fit to the symbols.
        products: For each call of a function that multiplies matrices, by its name in `costs`, the sizes
            whose product its multiply-accumulates are.
    """

    count: int = 0
    pairs: list[Tensor] = field(default_factory=list)
    frozen: list[tuple[Tensor, str]] = field(default_factory=list)
    places: dict[Place, Tensor] = field(default_factory=dict)
    sizes: dict[Size, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    makers: dict[Place, str] = field(default_factory=dict)
    grids: list[tuple[Tensor, int]] = field(default_factory=list)
    written: dict[Argument, Written] = field(default_factory=dict)
    products: dict[str, list[tuple[Formula, ...]]] = field(default_factory=dict)

    def fresh(self, size: int) -> Tensor:
        """Makes new symbols, int64 (size,)."""
        self.count += size
        return torch.arange(self.count - size, self.count)

    def fixed(self, shape: Sequence[int], reason: str) -> Tensor:
        """Makes one new symbol, frozen for a reason, and returns it in this shape."""
        symbol = self.fresh(1)
        self.freeze(symbol, reason)
        return symbol.reshape([1] * len(shape)).expand(tuple(shape))

    def freeze(self, symbols: Tensor, reason: str) -> None:
        """Notes that these symbols cannot go."""
        self.frozen.append((lean(symbols)[0].unique(), reason))

    def merge(self, one: Tensor, other: Tensor) -> None:
        """Notes that the symbols at the same positions of two tensors go together; shapes are broadcast."""
        if one is other:
            return
        found = torch.stack([part.flatten() for part in lean(*torch.broadcast_tensors(one, other))])
        found = found[:, found[0] != found[1]]
        self.pairs.append(found.unique(dim=1) if found.shape[1] > _MANY else found)

    def at(self, place: Place, symbols: Tensor, maker: str | None = None) -> None:
        """Notes the symbols along an axis of a tensor; they merge with those that are noted there already.

        Args:
            place: The axis.
            symbols: (size,).
            maker: The layer whose outputs these are, None where they are no layer's outputs.
        """
        self.merge(self.places.setdefault(place, symbols), symbols)
        if maker is not None:
            self.makers.setdefault(place, maker)

    def counts(self, size: Size, symbols: Tensor) -> None:
        """Notes that an attribute of a module counts these symbols, (size,)."""
        self.merge(self.sizes.setdefault(size, symbols), symbols)

    def gives(self, layer: str, symbols: Tensor) -> None:
        """Notes that these symbols, (size,), are a layer's outputs."""
        self.merge(self.outputs.setdefault(layer, symbols), symbols)

    def pinned(self, symbols: Tensor, axis: int) -> Tensor:
        """Lets all go together that differs along an axis, which so keeps its size."""
        first = symbols.narrow(axis, 0, 1).expand_as(symbols)
        self.merge(symbols, first)
        return first

    def straight(self, symbols: Tensor, axis: int) -> Tensor:
        """Lets channels lie along one axis alone: what differs along others goes together."""
        for other in varying(symbols):
            if other != axis % symbols.ndim:
                symbols = self.pinned(symbols, other)
        return symbols

    def along(self, symbols: Tensor, axis: int) -> Tensor:
        """Lets channels lie along one axis alone, and returns their symbols, (size,).

        Raises:
            Blocked: They lie along other axes only.
        """
        axes, axis = varying(symbols), axis % symbols.ndim
        if axes and axis not in axes:
            raise Blocked("takes channels along an axis on which they do not lie")
        for other in axes:
            if other != axis:
                symbols = self.pinned(symbols, other)
        return symbols[tuple(slice(None) if place == axis else 0 for place in range(symbols.ndim))]


def lean(*tensors: Tensor) -> list[Tensor]:
    """Returns tensors of one shape without the copies that all of them are views of."""
    views = list(tensors)
    for axis in range(views[0].ndim):
        if all(view.stride(axis) == 0 for view in views):
            views = [view.narrow(axis, 0, 1) for view in views]
    return views


def varying(symbols: Tensor) -> list[int]:
    """Returns the axes along which symbols differ."""
    strides = symbols.stride()
    axes = [axis for axis, size in enumerate(symbols.shape) if size > 1 and strides[axis]]
    if not axes:
        return axes
    first = symbols[tuple(slice(None) if axis in axes else 0 for axis in range(symbols.ndim))]
    return [axis for place, axis in enumerate(axes) if bool((first != first.narrow(place, 0, 1)).any())]


def vector(symbols: Tensor, axis: int) -> Tensor:
    """Returns the symbols along one axis, (size,).

    Raises:
        Blocked: They differ along another axis, too.
    """
    axis %= symbols.ndim
    if set(varying(symbols)) - {axis}:
        raise Blocked("takes channels along an axis on which they do not lie")
    for other in reversed(range(symbols.ndim)):
        if other != axis:
            symbols = symbols.select(other, 0)
    return symbols


def spread(symbols: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """Returns symbols (size,) along an axis of a tensor of this shape."""
    view = [1] * len(shape)
    view[axis] = -1
    return symbols.reshape(view).expand(tuple(shape))
