"""Which regularizer each layer gets, and what a way to train needs of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from pithnet.errors import RecipeError, require_known
from pithnet.learn import ADMM, LossTerm, ProximalStep, Regularized
from pithnet.passes.granularities import group_count, span
from pithnet.surgery import Weighted, latent_weight
from pithnet.tensor import erk, get_regularizer, uniform
from pithnet.tensor.regularizers import Regularizer, regularizer_class

HOWS: dict[str, type[Regularized]] = {"proximal": ProximalStep, "loss": LossTerm, "admm": ADMM}
GROUPS = ("filters", "channels")


def counts(kind: str) -> bool:
    """Tells whether the regularizer knows how many are to stay.

    Raises:
        RecipeError: The regularizer is unknown.
    """
    return any(field.name == "k" for field in fields(regularizer_class(kind)))


def is_grouped(kind: str) -> bool:
    """Tells whether the regularizer is one of whole groups.

    Raises:
        RecipeError: The regularizer is unknown.
    """
    return any(f.name == "dim" and f.default is MISSING for f in fields(regularizer_class(kind)))


def resolved_how(kind: str, how: str | None) -> str:
    """Returns `how`, or where None "proximal" if the regularizer has a prox, else "loss".

    Args:
        kind: The regularizer's name.
        how: "proximal", "loss", "admm" or None.

    Raises:
        RecipeError: The kind or the way is unknown, or the regularizer lacks what the way needs.
    """
    regularizer = regularizer_class(kind)
    if how is None:
        return "proximal" if regularizer.has_prox else "loss"
    require_known("way to regularize", how, HOWS, RecipeError)
    if how == "loss" and not regularizer.has_subgradient:
        raise RecipeError(f"{kind!r} has no subgradient for a loss term; use how='proximal' or 'admm'")
    if how != "loss" and not regularizer.has_prox:
        raise RecipeError(f"{kind!r} has no prox, which {how!r} needs; use how='loss'")
    return how


def regularizers(
    kind: str,
    layers: Sequence[Weighted],
    sparsity: float | None,
    scope: str,
    groups: str,
    parameters: Mapping[str, float],
) -> list[tuple[Regularizer, list[Weighted]]]:
    """Returns each regularizer with the layers it is over.

    Those are all layers together where k is ranked globally, else one each. Frozen layers have none.

    Args:
        kind: The regularizer's name.
        layers: The weights.
        sparsity: Share of zeros, in [0, 1], or None.
        scope: What is ranked: "global", "uniform" or "erk".
        groups: "filters" or "channels".
        parameters: The regularizer's own.

    Raises:
        RecipeError: Every layer is frozen, a parameter is unknown or out of range, or a number to keep needs
            a sparsity.
    """
    trained = [layer for layer in layers if latent_weight(layer).requires_grad]
    if not trained:
        raise RecipeError("every layer is frozen; a regularizer needs some that train")
    own: list[dict[str, Any]] = [{} for _ in trained]
    if is_grouped(kind):
        own = [{"dim": span(layer, groups)} for layer in trained]
    if counts(kind):
        if sparsity is None:
            raise RecipeError(f"{kind!r} keeps a number of weights; give the sparsity it is to reach")
        if scope == "global" and not is_grouped(kind):
            n = sum(layer.weight.numel() for layer in trained)
            return [(get_regularizer(kind, **parameters, k=n - round(sparsity * n)), trained)]
        for layer, mine, zeros in zip(trained, own, _zeros(trained, sparsity, scope), strict=True):
            n = group_count(layer, groups) if is_grouped(kind) else layer.weight.numel()
            mine["k"] = n - round(zeros / layer.weight.numel() * n)
    return [(get_regularizer(kind, **parameters, **mine), [m]) for m, mine in zip(trained, own, strict=True)]


def _zeros(layers: Sequence[Weighted], sparsity: float, scope: str) -> list[int]:
    """Returns how many zeros each layer gets, where each has a number of its own."""
    shapes = [layer.weight.shape for layer in layers]
    return erk(shapes, sparsity) if scope == "erk" else uniform([s.numel() for s in shapes], sparsity)
