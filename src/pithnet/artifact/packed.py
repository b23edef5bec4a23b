"""The part of msgpack that files use: nil, bool, int, float, str, bin, array and map; and names in it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgpack

from pithnet.errors import ArtifactError

_MAX_DEPTH = 32
_MAX_PARTS = 1 << 16  # lists and maps in all: millions of empty ones take seconds of the garbage collector
_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
# The first bytes of values of a kind.
_STRING, _BINARY = frozenset((*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB)), frozenset((0xC4, 0xC5, 0xC6))
_INTEGER = frozenset((*range(0x80), *range(0xCC, 0xD4)))
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def unpacked(data: bytes) -> object:
    """Returns the value that msgpack bytes hold.

    Raises:
        ArtifactError: They are not msgpack, or hold an extension, a key that is no string or comes twice in
            a map, more than 65,536 lists and maps, or such nested more than 32 levels deep.
    """
    parts = _Parts()
    try:
        value = msgpack.unpackb(data, object_pairs_hook=parts.map, list_hook=parts.counted)
    except ArtifactError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException) as e:
        raise ArtifactError(f"header: not msgpack ({type(e).__name__})") from None
    _check(value, _MAX_DEPTH)
    return value


def unpacked_table(data: bytes, entries: int, lengths: int) -> tuple[list[str], bytes, list[list[int]]]:
    """Returns what msgpack bytes hold, where it is strings, a byte string and lists of integers.

    Lists are made for what is of that form only: bytes that are not can hold millions of others.

    Args:
        data: The bytes.
        entries: The most strings, and the most lists.
        lengths: The most integers of a list.

    Raises:
        ValueError: They are not of that form.
    """
    reader = msgpack.Unpacker()
    reader.feed(data)

    def array(most: int) -> range:
        size = reader.read_array_header()
        if size > most:
            raise ValueError(f"{size} entries")
        return range(size)

    def value(kinds: frozenset[int]) -> Any:
        if data[reader.tell()] not in kinds:
            raise ValueError("another kind of value")
        return reader.unpack()

    try:
        if len(array(3)) < 3:
            raise ValueError("less than three parts")
        names = [value(_STRING) for _ in array(entries)]
        dtypes = value(_BINARY)
        shapes = [[value(_INTEGER) for _ in array(lengths)] for _ in array(entries)]
        if reader.tell() != len(data):
            raise ValueError("bytes behind the end")
    except (IndexError, msgpack.UnpackException) as e:
        raise ValueError(type(e).__name__) from None
    return names, dtypes, shapes


def is_name(text: object) -> bool:
    """Tells whether a value is a string without control characters (to U+001F, U+007F to U+009F)."""
    return isinstance(text, str) and not _CONTROLS.search(text)


class _Parts:
    """Counts lists and maps as they are made, and makes maps."""

    def __init__(self) -> None:
        self._count = 0

    def counted(self, values: list[Any]) -> list[Any]:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise ArtifactError(f"header: holds more than {_MAX_PARTS} lists and maps")
        return values

    def map(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        self.counted(pairs)
        found = dict(pairs)
        if len(found) < len(pairs):
            key = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise ArtifactError(f"header: the key {key!r} comes twice in a map")
        if not set(map(type, found)) <= {str}:
            raise ArtifactError("header: a key of a map is no string")
        return found


def _check(value: object, depth: int) -> None:
    if isinstance(value, list | dict):
        if not depth:
            raise ArtifactError(f"header: lists and maps are nested more than {_MAX_DEPTH} levels deep")
        parts = list(value.values()) if isinstance(value, dict) else value
        if set(map(type, parts)) <= _PLAIN:  # one look at all of them is much faster than many
            return
        for part in parts:
            _check(part, depth - 1)
    elif type(value) not in _PLAIN:
        raise ArtifactError(f"header: a {type(value).__name__} is none of the plain values that files hold")
