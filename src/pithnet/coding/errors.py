"""The one error of this room."""

from __future__ import annotations

from pithnet.errors import PithError


class CodingError(PithError):
    """Bad input to an encoder, or a damaged or hostile stream in a decoder."""
