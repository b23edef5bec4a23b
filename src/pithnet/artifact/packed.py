"""The part of msgpack that files use: nil, bool, int, float, str, bin, array and map; and names in it."""

from __future__ import annotations

import re
from typing import Any

import msgpack

from pithnet.errors import ArtifactError

_MAX_DEPTH = 32
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def unpacked(data: bytes) -> object:
    """Returns the value that msgpack bytes hold.

    Raises:
        ArtifactError: They are not msgpack, or hold an extension, a key that is no string or comes twice in
            a map, or lists and maps nested more than 32 levels deep.
    """
    try:
        value = msgpack.unpackb(data, object_pairs_hook=_map)
    except ArtifactError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException) as e:
        raise ArtifactError(f"header: not msgpack ({type(e).__name__})") from None
    _check(value, _MAX_DEPTH)
    return value


def is_name(text: object) -> bool:
    """Tells whether a value is a string without control characters (to U+001F, U+007F to U+009F)."""
    return isinstance(text, str) and not _CONTROLS.search(text)


def _map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise ArtifactError("header: a key of a map is no string")
        if key in found:
            raise ArtifactError(f"header: the key {key!r} comes twice in a map")
        found[key] = value
    return found


def _check(value: object, depth: int) -> None:
    if isinstance(value, list | dict):
        if not depth:
            raise ArtifactError(f"header: lists and maps are nested more than {_MAX_DEPTH} levels deep")
        for part in value.values() if isinstance(value, dict) else value:
            _check(part, depth - 1)
    elif not isinstance(value, str | int | float | bytes | None):
        raise ArtifactError(f"header: a {type(value).__name__} is none of the plain values that files hold")
