"""How much a decoder is about to do: each says so before it does it, and its caller may refuse.

Work is counted in units of about ten nanoseconds of a processor of 2024. A stream of few bytes can stand for
very many symbols, so its length bounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

Spend = Callable[[int], None]


def unlimited(units: int) -> None:
    """Refuses nothing.

    Args:
        units: How much work is about to be done.
    """
