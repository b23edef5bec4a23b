"""Every error pithnet raises on purpose. Each message says what is wrong and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PithError(Exception):
    """Base of all pithnet errors; the command line prints it as one line and exits with code 2."""


class ArtifactError(PithError):
    """A .pith file is damaged, truncated, hostile, or does not fit the model it is loaded into."""


class DataError(PithError):
    """A data set is missing, incomplete or malformed."""


class RecipeError(PithError):
    """A recipe is not valid, or asks for something the model or the data cannot give."""


class ModelError(PithError):
    """A checkpoint or a model cannot be used: wrong architecture, non-finite weights, unsupported layer."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the known names closest to `name`, or the list of all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=2)
    return f" Did you mean {' or '.join(close)}?" if close else f" Known: {', '.join(known)}."
