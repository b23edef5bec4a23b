"""The one language in which layers and parameters are named: in `skip`, `also` and `overrides`."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(pattern: str, name: str) -> bool:
    """Returns whether a pattern names that layer or parameter, or a part of the network that holds it.

    A name matches itself and everything under it: "layer1" matches layer1.0.conv1. `*`, `?` and `[...]` stand
    for characters as in a shell; `*` crosses dots.
    """
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def any_matches(patterns: Iterable[str], names: Iterable[str]) -> bool:
    """Returns whether one of the patterns matches one of the names."""
    known = tuple(names)
    return any(matches(pattern, name) for pattern in patterns for name in known)
