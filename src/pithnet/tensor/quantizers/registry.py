"""Quantizers by name. A new one: a class, a line in the list; the law test finds it."""

from __future__ import annotations

from pithnet.errors import RecipeError, lookup
from pithnet.tensor.quantizers.base import Quantizer
from pithnet.tensor.quantizers.learned import AdditivePowers, LearnedStep
from pithnet.tensor.quantizers.uniform import Dynamic, Linear

# A quantizer's number in a model's state is its place here: append, never reorder.
FAMILY: tuple[type[Quantizer], ...] = (Linear, Dynamic, LearnedStep, AdditivePowers)
QUANTIZERS: dict[str, type[Quantizer]] = {kind.name: kind for kind in FAMILY}


def get_quantizer(name: str, bits: int, symmetric: bool | None = None) -> Quantizer:
    """The quantizer called `name`; `symmetric` where None is what that one is by default.

    Raises RecipeError for an unknown name, bits outside 0..8, and for asymmetric levels where there are none.
    """
    kind = lookup("quantizer", name, QUANTIZERS, RecipeError)
    if symmetric is False and kind is AdditivePowers:
        raise RecipeError("'apot' has symmetric levels only; use 'linear' or 'dynamic' for asymmetric ones")
    return kind(bits, kind.symmetric_by_default if symmetric is None else symmetric)
