"""The mask that ends a regularized training, and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pithnet.passes.granularities import span
from pithnet.passes.regularized.terms import is_grouped
from pithnet.passes.scopes import SCOPES
from pithnet.results import LayerRow
from pithnet.surgery import Mask, Weighted, latent_weight, parametrization, set_mask
from pithnet.tensor import group_mask


@torch.no_grad()
def cut_off(layers: Sequence[Weighted], kind: str, sparsity: float | None, scope: str, groups: str) -> None:
    """Masks the smallest weights, or whole groups, in place; without a sparsity those that are zero.

    What is masked already stays so, and counts.

    Args:
        layers: The weights.
        kind: The regularizer's name.
        sparsity: Share of zeros, in [0, 1], or None.
        scope: What is ranked: "global", "uniform" or "erk".
        groups: "filters" or "channels", for the regularizers of whole groups.
    """
    for layer, mask in zip(layers, _masks(layers, kind, sparsity, scope, groups), strict=True):
        mask = mask & mask_of(layer).mask
        set_mask(layer, mask)
        latent_weight(layer).masked_fill_(~mask, 0.0)


def _masks(
    layers: Sequence[Weighted], kind: str, sparsity: float | None, scope: str, groups: str
) -> list[Tensor]:
    weights = [layer.weight for layer in layers]
    if sparsity is None:
        return [weight != 0 for weight in weights]
    # Masked weights go first: a zero that trains must not take the place of one that does not.
    scores = [torch.where(mask_of(layer).mask, layer.weight.abs(), -1.0) for layer in layers]
    masks = SCOPES[scope](scores, sparsity)
    if not is_grouped(kind):
        return masks
    return [
        group_mask(weight, span(layer, groups), int((~mask).sum()))
        for layer, weight, mask in zip(layers, weights, masks, strict=True)
    ]


def masked_rows(
    layers: Sequence[tuple[str, Weighted]], kind: str, groups: str, own_zeros: Mapping[str, int]
) -> tuple[LayerRow, ...]:
    """Returns a row per masked layer; for whole groups it says which filters or channels are gone.

    Args:
        layers: The weights, by name.
        kind: The regularizer's name.
        groups: "filters" or "channels".
        own_zeros: Zeros that each layer had before, by name.
    """
    rows = []
    for name, layer in layers:
        mask = mask_of(layer).mask
        gone = None
        if is_grouped(kind):
            empty = ~mask.any(span(layer, groups)).flatten()
            gone = tuple(empty.nonzero().flatten().tolist())
        rows.append(LayerRow(name, mask.numel(), int((~mask).sum()), None, own_zeros[name], gone))
    return tuple(rows)


def mask_of(layer: Weighted) -> Mask:
    """Returns the mask of a layer that has one."""
    mask = parametrization(layer, Mask)
    assert mask is not None
    return mask
