"""Quantization without labels and without training, all of it: levels, BN, blocks, biases."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from pithnet.errors import ModelError, RecipeError
from pithnet.heartbeat import working
from pithnet.passes.bit_widths import layer_bits
from pithnet.passes.calibration import read_once
from pithnet.passes.guard import guarded
from pithnet.passes.layers import selected_layers
from pithnet.passes.ptq.bias_repair import correct_biases, has_biases
from pithnet.passes.ptq.block_rounding import STEPS, blocks_with, layers_with_levels, reconstruct_blocks
from pithnet.passes.ptq.norm_repair import match_norms
from pithnet.passes.ptq.part_calls import unread_layers
from pithnet.passes.quantize import quantize
from pithnet.passes.records import Record
from pithnet.surgery import in_float32, unwrapped
from pithnet.tensor.quantizers import MAX_BITS


@working("quantize without labels")
@guarded
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

    Each channel gets 2^bits evenly spaced levels, anywhere and of least squared error (`quantize` with
    "dynamic" and fit "mse"). Statistics of BN are moved by what that changed (`match_norms`), roundings and
    levels are learned block by block on the blocks' own outputs (`reconstruct_blocks`), and then the biases
    of layers that have any are corrected (`correct_biases`). Float16 and bfloat16 models are computed in
    float32 and have their dtype again afterwards. Layers whose weights the forward never reads stay in float;
    the record names them (`unread`). Where it raises, the model is as it was.

    Args:
        model: the trained network.
        bits: bits per weight, 1 to 8.
        calibrate: a loader of batches of any form that `learn.read_batch` takes (images, tokens, dicts of
            arguments), or all samples at once, a tensor (N, ...) or a dict of them; about 1,000, shuffled.
        overrides: other bits for layers, by pattern; None leaves a layer as it is.
        skip: patterns of layers to leave as they are.
        steps: of 32 images, for each block; 0 leaves roundings and levels as they are.
        seed: of the choice of images.

    Returns:
        What was done to each layer.

    Raises:
        RecipeError: A setting is out of range, or every layer is left out or made zero.
        ModelError: A layer cannot be compressed or a block not reconstructed, the forward reads none of the
            weights, or they would become NaN or inf.
        DataError: There are no samples.
    """
    model = unwrapped(model)
    plan = layer_bits(selected_layers(model, skip), bits, overrides or {})
    quantized = [name for name, asked in plan.items() if asked]
    if not quantized:
        raise RecipeError(f"no layer is left with levels; give bits from 1 to {MAX_BITS}")
    with in_float32(model):
        batches = read_once(model, calibrate)
        unread = unread_layers(model, quantized, batches)
        quantized = [name for name in quantized if name not in unread]
        if not quantized:
            raise ModelError(
                f"the network reads none of the weights for these images, {unread[0]} first; give calibrate= "
                "inputs that go through its layers"
            )
        own = {name: asked for name, asked in (overrides or {}).items() if name not in unread}
        record = _quantize(model, bits, own | dict.fromkeys(unread), quantized, batches, skip, steps, seed)
    return replace(record, unread=tuple(unread))


def _quantize(
    model: nn.Module,
    bits: int,
    overrides: Mapping[str, int | None],
    quantized: Sequence[str],
    batches: Sequence[tuple[Any, Any]],
    skip: Sequence[str],
    steps: int,
    seed: int,
) -> Record:
    """Carries out levels, BN, blocks and biases of the `quantized` layers, with their bits."""
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
