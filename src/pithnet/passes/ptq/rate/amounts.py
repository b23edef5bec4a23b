"""How small a network is to become: bits, a rate or bytes."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from torch import nn

from pithnet.artifact import float32_bytes, plain_state
from pithnet.errors import RecipeError


def require_one_amount(bits: Any, rate: Any, size: Any) -> None:
    """Checks that exactly one of three amounts is given.

    Args:
        bits: Of every weight, or None.
        rate: Coded bits a weight, or None.
        size: Bytes of the file, or None.

    Raises:
        RecipeError: None is given or several are, or the rate or size is no positive number.
    """
    given = {"bits": bits, "rate": rate, "bytes": size}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        found = " and ".join(f"{name}={given[name]!r}" for name in named) or "none of them"
        raise RecipeError(
            f"give exactly one of bits= (levels a weight), rate= (coded bits a weight) and bytes= (the whole "
            f"file), not {found}"
        )
    value = given[named[0]]
    if named[0] != "bits" and not _is_positive(value):
        raise RecipeError(f"{named[0]} must be a number above 0, not {value!r}")


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and 0 < float(value) < math.inf


def whole_bytes(size: float, model: nn.Module) -> float:
    """Returns a budget in bytes: a number up to 1 is a share of the model's float32 bytes."""
    return size if size > 1 else size * float32_bytes(plain_state(model))
