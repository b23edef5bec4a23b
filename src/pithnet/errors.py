"""Every error pithnet raises on purpose. Each message says what is wrong and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 390  # characters of a message that quotes a file


class PithError(Exception):
    """Base of all pithnet errors; the command line prints it as one line and exits with code 2."""


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


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the known names closest to `name`, or the list of all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=2)
    return f" Did you mean {' or '.join(close)}?" if close else f" Known: {', '.join(known)}."
