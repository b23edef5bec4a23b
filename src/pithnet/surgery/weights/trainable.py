"""Plain weights, as a file holds them, back in the form they train in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pithnet.surgery.weights.chains import set_codebook, set_mask
from pithnet.surgery.weights.holders import other_matrices, weighted_layers
from pithnet.surgery.weights.unsupported import refusals

_FEW = 256
_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def parametrize_(model: nn.Module) -> None:
    """Keeps, in place, the zeros and levels that the model's weights have, whatever trains it from now on.

    A weight of few values gets a `Codebook`: at most 256 distinct non-zeros that some weights share, or more
    with two weights each on average, unless they are what rounding to 16-bit floats leaves. Any other with
    zeros gets a `Mask`; the rest, and what `refusals` names, stays plain. Matrices of no
    known kind are treated so, too, but for those with fewer than two weights a level, or none but zeros.
    Values do not change by a bit: -0.0 is a value, not a zero.
    """
    other = {key for layer in other_matrices(model) for key in layer.keys}
    refused = {name for refusal in refusals(model, ("*",)) for name in refusal.names}
    for _, layer in weighted_layers(model, ("*",)):
        if not refused.isdisjoint(layer.names):
            continue
        weight = layer.weight.detach()
        bits = weight.contiguous().view(_WORDS[weight.element_size()])
        kept = bits != 0
        words, place = bits[kept].unique(return_inverse=True)
        levels = words.view(weight.dtype)
        is_other = not other.isdisjoint(layer.keys)
        if is_other and not len(levels):
            continue  # zeros to begin a training with
        # Of a small table of positions, say, some numbers are alike by chance.
        if _are_few(levels, len(place) // 2 + 1 if is_other else len(place)):
            index = torch.zeros(weight.shape, dtype=torch.int32, device=weight.device)
            index[kept] = place.int() + 1
            set_codebook(layer, index, levels)
        elif not bool(kept.all()):
            set_mask(layer, kept)


def _are_few(levels: Tensor, weights: int) -> bool:
    """Tells whether so many weights share these levels, rather than having them by chance."""
    if len(levels) <= _FEW:
        return len(levels) < weights
    return 2 * len(levels) <= weights and not _is_rounding(levels)


def _is_rounding(levels: Tensor) -> bool:
    """Tells whether most levels are neighbours among the 16-bit floats, which is a mark of rounding."""
    short = levels if levels.element_size() == 2 else levels.half()
    codes = short.view(torch.int16).int().sort().values
    return torch.equal(short.to(levels.dtype), levels) and int((codes.diff() == 1).sum()) > len(levels) / 2
