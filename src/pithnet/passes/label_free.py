"""Quantization without labels and without training, all of it: levels, BN, blocks, biases."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pithnet.passes.bias_repair import correct_biases, has_biases
from pithnet.passes.block_rounding import STEPS, reconstruct_blocks
from pithnet.passes.norm_repair import match_norms
from pithnet.passes.quantize import quantize
from pithnet.passes.records import Record


def quantize_without_labels(
    model: nn.Module,
    bits: int,
    calibrate: Any,
    *,
    overrides: Mapping[str, int | None] | None = None,
    skip: Sequence[str] = (),
    steps: int = STEPS,
    seed: int = 0,
) -> Record:
    """Quantizes the weights of all layers, in place, on a few images without labels and without training.

        images = torch.cat([images for images, _ in itertools.islice(loader, 8)])
        pn.quantize_without_labels(model, 2, images)
        pn.save(pn.finalize(model), "model.pith")

    2^bits evenly spaced levels for each channel, anywhere and of least squared error (`quantize` with
    "dynamic" and fit "mse"); statistics of BN moved by what that changed (`match_norms`); roundings and
    levels learned block by block on the blocks' own outputs (`reconstruct_blocks`, left out with 0 steps);
    then the biases of layers that have any (`correct_biases`).

    Args:
        bits: 1 to 8. calibrate: a loader, or a tensor of images (N, ...); about 1,000, shuffled.
        overrides, skip: as `quantize`'s. steps, seed: as `reconstruct_blocks`'.

    Raises RecipeError, ModelError and DataError as those do.
    """
    reference = copy.deepcopy(model)
    record = quantize(
        model, bits, quantizer="dynamic", fit="mse", granularity="channel", overrides=overrides, skip=skip
    )
    match_norms(model, reference, calibrate)
    if steps:
        reconstruct_blocks(model, reference, calibrate, steps=steps, seed=seed)
    if has_biases(model):
        correct_biases(model, reference, calibrate)
    return record
