"""Codings of float32 values: each says what it needs beside the symbols, and which symbols to entropy-code.

A coding is one class with `plan` (values -> Plan, or None where it cannot give them back bit for bit) and
`read`, and one line in `codings.CODINGS`; the record picks the smallest, the tests run over the list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pithnet.artifact import floats
from pithnet.artifact.wire import Cursor

MAX_LEVELS = 1 << 16
_SHORT = 4096  # up to so many values every coding is tried, whatever it promises


@dataclass(frozen=True)
class Sites:
    """The places where n values stand.

    Attributes:
        mask: Booleans of the record's shape, True where a value stands.
        counts: How many values stand in each tensor.
    """

    mask: np.ndarray
    counts: tuple[int, ...]

    @classmethod
    def everywhere(cls, shape: tuple[int, ...], sizes: Sequence[int]) -> Sites:
        """Returns all the sites of tensors of these sizes; the mask takes no memory."""
        return cls(np.broadcast_to(np.True_, shape), tuple(sizes))

    @classmethod
    def of(cls, mask: np.ndarray, sizes: Sequence[int]) -> Sites:
        """Returns the sites of a mask over tensors of these sizes."""
        parts = np.split(mask.reshape(-1), np.cumsum(sizes)[:-1])
        return cls(mask, tuple(int(np.count_nonzero(part)) for part in parts))

    @property
    def count(self) -> int:
        """The number of values, n."""
        return sum(self.counts)


@dataclass(frozen=True)
class Block:
    """Values to be coded.

    Attributes:
        values: (n,) float32.
        sites: Where they stand.
    """

    values: np.ndarray
    sites: Sites

    @cached_property
    def levels(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The distinct values (K,) ascending, and the index of each value (n,); None above MAX_LEVELS."""
        return floats.levels(self.values, MAX_LEVELS)

    @property
    def few_levels(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The levels, where a list of them can pay; else None."""
        if self.levels is None:
            return None
        distinct, size = self.levels[0].size, self.values.size
        return self.levels if distinct and (distinct <= size // 2 or size <= _SHORT) else None


@dataclass(frozen=True)
class Plan:
    """What a coding writes: `side()` as it is, then symbols, if any, by an entropy coder.

    Where symbols stand for values they ascend with them: coders use that neighbours are alike.

    Attributes:
        size: The bytes of `side()`.
        side: Gives the bytes beside the symbols.
        symbols: (n,) integers, or None.
    """

    size: int
    side: Callable[[], bytes | bytearray]
    symbols: np.ndarray | None = None

    @classmethod
    def of(cls, side: bytes, symbols: np.ndarray | None = None) -> Plan:
        """Returns the plan of a short side that is there already."""
        return cls(len(side), lambda: side, symbols)


class Coding(ABC):
    """One way to write float32 values."""

    name: str

    @abstractmethod
    def plan(self, block: Block) -> Plan | None:
        """Returns what to write for these values, or None where this coding cannot represent them exactly."""

    @abstractmethod
    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        """Reads values.

        Args:
            cursor: Stands where the coding's side begins.
            sites: Where the n values stand.

        Returns:
            (n,) float32, and the coding's name with its entropy coder's.

        Raises:
            ArtifactError: The bytes are not of the coding's form.
        """
