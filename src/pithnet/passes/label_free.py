"""Quantization without labels and without training, all of it: levels, BN, blocks, biases."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pithnet.errors import RecipeError
from pithnet.passes.bias_repair import correct_biases, has_biases
from pithnet.passes.bit_widths import layer_bits
from pithnet.passes.block_rounding import STEPS, blocks_with, layers_with_levels, reconstruct_blocks
from pithnet.passes.calibration import read_once
from pithnet.passes.layers import selected_layers
from pithnet.passes.norm_repair import match_norms
from pithnet.passes.quantize import quantize
from pithnet.passes.records import Record
from pithnet.tensor.quantizers import MAX_BITS


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

    Raises RecipeError, ModelError and DataError as those do, and RecipeError where every layer is left out or
    made zero; the model is as it was then.
    """
    plan = layer_bits(selected_layers(model, skip), bits, overrides or {})
    quantized = [name for name, asked in plan.items() if asked]
    if not quantized:
        raise RecipeError(f"no layer is left with levels; give bits from 1 to {MAX_BITS}")
    batches = read_once(model, calibrate)
    reference = copy.deepcopy(model)
    if steps:
        # Levels that a skipped layer has already are learned too.
        blocks_with([*quantized, *layers_with_levels(model)], model, reference, batches)
    record = quantize(
        model, bits, quantizer="dynamic", fit="mse", granularity="channel", overrides=overrides, skip=skip
    )
    match_norms(model, reference, batches)
    if steps:
        reconstruct_blocks(model, reference, batches, steps=steps, seed=seed)
    if has_biases(model):
        correct_biases(model, reference, batches)
    return record
