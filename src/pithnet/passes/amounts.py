"""How much of a pass each layer gets: one amount for all, and others for some layers by pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from pithnet.errors import RecipeError, nearest
from pithnet.patterns import any_matches
from pithnet.surgery import Weighted

Amount = TypeVar("Amount")


def layer_amounts(
    layers: Sequence[tuple[str, Weighted]],
    amount: Amount,
    overrides: Mapping[str, Amount],
    done: str,
) -> dict[str, Amount]:
    """Returns the amount of each layer: that of the last pattern that fits it, else `amount`.

    Args:
        layers: The layers by name.
        amount: What a layer gets that no pattern fits.
        overrides: Amounts by pattern of `pithnet.patterns`.
        done: What is done to the layers, for messages, such as "quantized".

    Raises:
        RecipeError: A pattern matches none of the layers.
    """
    for pattern in overrides:
        # A pattern is not a name, so the message says what it was to match.
        if not any(any_matches((pattern,), layer.names) for _, layer in layers):
            known = nearest(pattern, [name for name, _ in layers])
            raise RecipeError(f"overrides: {pattern!r} matches no layer that is {done}.{known}")
    found = {}
    for name, layer in layers:
        fits = [asked for pattern, asked in overrides.items() if any_matches((pattern,), layer.names)]
        found[name] = fits[-1] if fits else amount
    return found
