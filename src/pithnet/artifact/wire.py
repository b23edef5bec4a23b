"""Bytes on the wire: varints, length-prefixed blocks, and a cursor that never reads past its end."""

from __future__ import annotations

from collections import Counter

from pithnet.coding import CodingError
from pithnet.coding.bitpack import get_varint, put_varint
from pithnet.coding.work import Spend, unlimited
from pithnet.errors import ArtifactError


def signed(value: int) -> bytes:
    """Returns a small signed integer as a varint; the order 0, -1, 1, -2, ... keeps both signs short."""
    return put_varint(2 * value if value >= 0 else -2 * value - 1)


def block(data: bytes) -> bytes:
    """Returns `data` after its length as a varint."""
    return put_varint(len(data)) + data


class Cursor:
    """A byte string being read from its start to its end; it counts, by part, where the bytes went.

    Parts are positions, symbols, codebook and other. Every method that reads refuses bytes that end too early
    with an ArtifactError.

    Args:
        data: The bytes.
        spend: Gets the work that the bytes ask for, before it is done, and may refuse it.
    """

    def __init__(self, data: bytes | memoryview, spend: Spend = unlimited) -> None:
        self.spend = spend
        self._data = memoryview(data)
        self._at = 0
        self.spent: Counter[str] = Counter()

    @property
    def left(self) -> int:
        """The number of bytes not read yet."""
        return len(self._data) - self._at

    def take(self, count: int, part: str = "other") -> bytes:
        """Returns a copy of the next `count` bytes."""
        return bytes(self.view(count, part))

    def view(self, count: int, part: str = "other") -> memoryview:
        """Returns the next `count` bytes where they are.

        Raises:
            ArtifactError: Fewer than `count` bytes are left.
        """
        if count > self.left:
            raise ArtifactError(f"ends too early: {count} bytes are due, {self.left} are left")
        self._at += count
        self.spent[part] += count
        return self._data[self._at - count : self._at]

    def byte(self, part: str = "other") -> int:
        """Returns the next byte as a number."""
        return self.take(1, part)[0]

    def varint(self, part: str = "other") -> int:
        """Returns the number that `put_varint` wrote.

        Raises:
            ArtifactError: The bytes end inside the number, or it is too long.
        """
        try:
            value, end = get_varint(self._data, self._at)
        except CodingError as e:
            raise ArtifactError(str(e)) from None
        self.take(end - self._at, part)
        return value

    def signed(self, part: str = "other") -> int:
        """Returns the number that `signed` wrote."""
        code = self.varint(part)
        return code // 2 if code % 2 == 0 else -(code + 1) // 2

    def block(self, part: str = "other") -> bytes:
        """Returns the bytes that `block` wrote; their length counts as other."""
        return self.take(self.varint(), part)

    def rest(self, part: str = "other") -> bytes:
        """Returns everything not read yet."""
        return self.take(self.left, part)

    def finish(self) -> None:
        """Checks that everything was read.

        Raises:
            ArtifactError: Bytes are left over.
        """
        if self.left:
            raise ArtifactError(f"holds {self.left} bytes too many")
