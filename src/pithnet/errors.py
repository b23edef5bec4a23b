"""Every error pithnet raises on purpose. Each message says what is wrong and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

_LONGEST = 390  # characters of a message that quotes a file


class PithError(Exception):
    """The base of all pithnet errors; the command line prints it as one line and exits with code 2."""


class ArtifactError(PithError):
    """A .pith file is damaged, truncated, hostile, or does not fit the model it is loaded into.

    The message may quote names out of the file: it is kept short, and printable on one line.
    """

    def __init__(self, message: str) -> None:
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
        super().__init__(
            shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST // 2]}...{shown[-_LONGEST // 2 :]}"
        )


class DataError(PithError):
    """A data set is missing, incomplete or malformed."""


class RecipeError(PithError):
    """A recipe is not valid, or asks for something the model or the data cannot give."""


class ModelError(PithError):
    """A checkpoint or a model cannot be used: wrong architecture, non-finite weights, unsupported layer."""


class PithWarning(UserWarning):
    """Something to know before a result is used: much of a network is left out, or a rival is smaller."""


def lookup(kind: str, name: str, table: Mapping[str, T], error: type[PithError], advice: str = "") -> T:
    """Returns what `table` holds under `name`.

    Args:
        kind: What the name is one of, as a message says it, such as "data set".
        name: What the user asked for.
        table: Everything of that kind, by name.
        error: The class to raise where `table` has no such name.
        advice: A sentence at the end of the message, for what may be given in place of a name.

    Raises:
        error: The table has no such name; the message quotes it and says the nearest ones, or all where none
            is near.
    """
    require_known(kind, name, table, error, advice)
    return table[name]


def require_known(
    kind: str, name: str, known: Collection[str], error: type[PithError], advice: str = ""
) -> None:
    """Checks that a name is a known one.

    Args:
        kind: What the name is one of, as a message says it, such as "data set".
        name: What the user asked for.
        known: All names of that kind.
        error: The class to raise where the name is not among them.
        advice: A sentence at the end of the message.

    Raises:
        error: The name is not known; the message is that of `lookup`.
    """
    if not isinstance(name, str) or name not in known:
        raise error(f"{unknown(kind, name, known)}{advice and ' ' + advice}")


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the message for an unknown name, to be built into a longer one; `lookup` raises it by itself.

    Args:
        kind: What the name is one of, as a message says it.
        name: What the user asked for.
        known: All names of that kind.
    """
    return f"unknown {kind} {name!r}.{nearest(name, known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ' Did you mean X?' for the known names closest to `name`, or the list of all of them.

    It ends a message that needs words of its own; whatever is simply unknown is refused by `lookup`.

    Args:
        name: What the user asked for.
        known: All names there are.
    """
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=2)
    return f" Did you mean {' or '.join(close)}?" if close else f" Known: {', '.join(known)}."
