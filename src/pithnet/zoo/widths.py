"""How many outputs the layers of a zoo network have: given by name, or a share of the usual numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pithnet.errors import ModelError, require_known

LARGEST = 1 << 20
BEFORE = ".before"  # behind the name of a shortcut by padding: how many zero channels it puts first


class Widths:
    """What a constructor asks for the number of outputs of each layer, in the order of the layers.

    Layers whose outputs are added up, or filtered one by one, have one number, asked for by the first of
    them. So a list of numbers in that order says as much as a table by name.

    Args:
        given: Outputs by the name of the layer, all or some of them; or all numbers in order.
        scale: The share of the usual numbers that layers have which are not given; at least 1 is left.

    Attributes:
        found: The numbers that were asked for so far.

    Raises:
        ModelError: A number is no whole number from 1 to 2**20 (0 is one for the zeros of a shortcut), or the
            scale makes no sense.
    """

    def __init__(
        self, given: Mapping[str, int] | Sequence[int] | None = None, scale: float | None = None
    ) -> None:
        if scale is not None and (
            isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf
        ):
            raise ModelError(f"scale {scale!r}: choose a share of the usual channels above 0, such as 1/8")
        if not isinstance(given, Mapping | list | tuple | None):
            raise ModelError(f"widths are a table {{layer: channels}}, not a {type(given).__name__}")
        self._scale = 1 if scale is None else scale
        self._table = dict(given) if isinstance(given, Mapping) else {}
        self._row = list(given) if isinstance(given, list | tuple) else None
        self._known: set[str] = set()
        self._usual: list[int] = []
        self.found: list[int] = []
        for layer, number in self._table.items():
            if not isinstance(layer, str):
                raise ModelError(f"widths: {layer!r} is no name of a layer")
            _check(layer, number, 0 if layer.endswith(BEFORE) else 1)

    def of(self, usual: int, *layers: str) -> int:
        """Returns how many outputs layers have that go together.

        Args:
            usual: The number that they have where nothing else is said.
            *layers: Their names, the one that comes first in the network first.

        Raises:
            ModelError: They are given different numbers, or a list of numbers is too short.
        """
        named = {layer: self._table[layer] for layer in layers if layer in self._table}
        if len(set(named.values())) > 1:
            (one, first), (other, second) = next(
                (a, b) for a in named.items() for b in named.items() if a[1] != b[1]
            )
            raise ModelError(
                f"widths: {one} has {first} and {other} has {second} outputs, and these go together; give one"
            )
        scaled = min(max(1, int(usual * self._scale)), LARGEST)
        return self._take(next(iter(named.values()), scaled), usual, layers, 1)

    def zeros_before(self, shortcut: str, new: int, usual: int) -> int:
        """Returns how many of a shortcut's new channels, which are zero, come before those that it passes on.

        Args:
            shortcut: The name of the shortcut.
            new: How many new channels there are. Where nothing else is said, half of them come first.
            usual: How many come first in the network of the usual widths.

        Raises:
            ModelError: There are fewer.
        """
        name = shortcut + BEFORE
        if new < 0:
            raise ModelError(
                f"widths: {shortcut} passes on {-new} channels more than its block has outputs; give more to "
                "the block's second convolution, or fewer to the stage before it"
            )
        found = self._take(self._table.get(name, new // 2), usual, (name,), 0)
        if found > new:
            raise ModelError(f"widths: {name} is {found}, and {shortcut} has {new} new channels")
        return found

    def outputs(self, layer: str, count: int) -> int:
        """Returns the number of outputs of the last layer, which are the classes.

        Args:
            layer: Its name.
            count: How many classes there are.

        Raises:
            ModelError: The table gives it another number.
        """
        self._known.add(layer)
        given = self._table.get(layer, count)
        if given != count:
            raise ModelError(f"widths: {layer} has {given} outputs, and there are {count} classes")
        return count

    def finish(self) -> tuple[int, ...] | None:
        """Returns all numbers in order, once a network is built; None where they are the usual ones.

        Raises:
            ModelError: The table names layers that the network does not have, or there are too many numbers.
        """
        for layer in self._table:
            require_known("layer in widths", layer, self._known, ModelError)
        if self._row is not None and len(self._row) != len(self.found):
            raise ModelError(f"widths are {len(self._row)} numbers, and the network takes {len(self.found)}")
        return None if self.found == self._usual else tuple(self.found)

    def _take(self, number: int, usual: int, names: Sequence[str], least: int) -> int:
        self._known.update(names)
        if self._row is not None:
            if len(self._row) <= len(self.found):
                raise ModelError(f"widths are {len(self._row)} numbers; {names[0]} and others have none")
            number = self._row[len(self.found)]
            _check(names[0], number, least)
        self.found.append(number)
        self._usual.append(usual)
        return number


def _check(layer: str, number: object, least: int) -> None:
    if type(number) is not int or not least <= number <= LARGEST:
        raise ModelError(f"widths: {layer} is {number!r}; choose a whole number from {least} to {LARGEST}")
