"""Whole numbers as they are typed: a fraction is refused, where the parser would round it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from cyclopts import Token, convert

_MOST = 2**63 - 1  # of generators of random numbers, and more than anything that is counted


def with_whole_numbers(type_: Any, tokens: Sequence[Token]) -> Any:
    """Converts what was typed for an option; see `cyclopts.Parameter(converter=...)`.

    Args:
        type_: The option's type.
        tokens: What was typed.

    Raises:
        ValueError: A fraction, or a number of more than 64 bits, was typed for a whole number. The parser
            makes it a message that names the option.
    """
    if int in (type_, *get_args(type_)):
        for token in tokens:
            try:
                number = int(token.value)
            except ValueError:
                raise ValueError(f"{token.value!r} is no whole number.") from None
            if abs(number) > _MOST:
                raise ValueError(f"{token.value} has more than 64 bits.")
    return convert(type_, tokens)
