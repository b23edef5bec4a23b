"""Quantizers by name. A new quantizer is a class and a line in the list; the law test finds it."""

from __future__ import annotations

from pithnet.errors import RecipeError, lookup
from pithnet.tensor.quantizers.base import Quantizer
from pithnet.tensor.quantizers.learned import AdditivePowers, LearnedStep
from pithnet.tensor.quantizers.uniform import Dynamic, Fine, Linear

# A quantizer's number in a model's state is its place here: append, never reorder.
FAMILY: tuple[type[Quantizer], ...] = (Linear, Dynamic, LearnedStep, AdditivePowers, Fine)
QUANTIZERS: dict[str, type[Quantizer]] = {kind.name: kind for kind in FAMILY if kind is not Fine}


def get_quantizer(name: str, bits: int, symmetric: bool | None = None) -> Quantizer:
    """Returns a quantizer.

    Args:
        name: A key of QUANTIZERS.
        bits: Bits per weight, 0 to 8.
        symmetric: Whether levels come in pairs of opposite sign; None takes what that quantizer does by
            default.

    Raises:
        RecipeError: The name is unknown, the bits are out of range, or asymmetric levels are asked of a
            quantizer that has none.
    """
    kind = lookup("quantizer", name, QUANTIZERS, RecipeError)
    if symmetric is False and not kind.can_be_asymmetric:
        others = ", ".join(repr(other.name) for other in FAMILY if other.can_be_asymmetric)
        raise RecipeError(f"{name!r} has symmetric levels only; take one of {others} for asymmetric ones")
    return kind(bits, kind.symmetric_by_default if symmetric is None else symmetric)
