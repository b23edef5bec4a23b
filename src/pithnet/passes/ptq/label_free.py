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
from pithnet.passes.file_size import Weigh, file_bytes
from pithnet.passes.guard import guarded
from pithnet.passes.layers import selected_layers
from pithnet.passes.ptq.bias_repair import correct_biases, has_biases
from pithnet.passes.ptq.block_rounding import STEPS, blocks_with, layers_with_levels, reconstruct_blocks
from pithnet.passes.ptq.norm_repair import match_norms
from pithnet.passes.ptq.part_calls import unread_layers
from pithnet.passes.ptq.rate.amounts import require_one_amount
from pithnet.passes.ptq.rate.round_to_budget import require_taken, round_to_budget
from pithnet.passes.quantize import quantize
from pithnet.passes.records import Record
from pithnet.surgery import in_float32, unwrapped
from pithnet.tensor.quantizers import MAX_BITS


@working("quantize without labels")
@guarded
def quantize_without_labels(
    model: nn.Module,
    bits: int | None = None,
    calibrate: Any = None,
    *,
    rate: float | None = None,
    bytes: float | None = None,
    overrides: Mapping[str, int | None] | None = None,
    skip: Sequence[str] = (),
    steps: int = STEPS,
    seed: int = 0,
    weigh: Weigh = file_bytes,
) -> Record:
    """Quantizes the weights of all layers, in place, on a few images without labels and without training.

        images = torch.cat([images for images, _ in itertools.islice(loader, 8)])
        pn.quantize_without_labels(model, bytes=63_000, calibrate=images)
        pn.save(pn.finalize(model), "model.pith")

    How small is said by exactly one of `bytes`, `rate` and `bits`.

    With `bytes` or `rate` each layer gets evenly spaced levels, as many and as far apart as one price of a
    bit makes worth it, and each weight the level that costs least in bits and in errors of the network's
    outputs. What an error costs is found by gradients of the outputs times random signs; layers are rounded
    in order, with inputs as the network so far gives them; means and deviations are made good in the BN or
    bias behind. The price is searched on the real encoder, so the file is as large as asked for, or up to
    about one percent smaller. A layer whose BN follows alone has a step for each row, which that BN takes in.

    With `bits` each channel gets 2^bits evenly spaced levels, anywhere and of least squared error (`quantize`
    with "dynamic" and fit "mse"). Statistics of BN are moved by what that changed (`match_norms`), roundings
    and levels are learned block by block on the blocks' own outputs (`reconstruct_blocks`), and then the
    biases of layers that have any are corrected (`correct_biases`).

    Without images (`calibrate=None`) the weights and what BNs remember of the training decide alone, and
    nothing is repaired: prefer some images, whatever they are.

    Float16 and bfloat16 models are computed in float32 and have their dtype again afterwards. Layers whose
    weights the forward never reads stay in float; the record names them (`unread`). Labels in the batches are
    not read. Where it raises, the model is as it was.

    Args:
        model: The trained network.
        bits: Bits per weight, 1 to 8.
        calibrate: A loader of batches of any form that `learn.read_batch` takes (images, tokens, dicts of
            arguments), or all samples at once, a tensor (N, ...) or a dict of them; about 1,000, shuffled.
            With `bytes` or `rate` all of them are on their way through the network at the same time, so
            there should be memory for what they all give one layer. None is no data at all.
        rate: Bits that a weight takes in the file, averaged over the layers that are quantized, above 0.
        bytes: Size of the file that `pn.save(pn.finalize(model), path)` writes; up to 1 it is a share of the
            float32 bytes.
        overrides: With `bits`, other bits for layers, by pattern; None leaves a layer as it is.
        skip: Patterns of layers to leave as they are.
        steps: With `bits`, of 32 images, for each block; 0 leaves roundings and levels as they are.
        seed: Of the choice of images, positions and signs.
        weigh: Gives the bytes of the network's file, which `bytes` is a budget of; by default those of
            `pn.save(pn.finalize(model), path)`.

    Returns:
        What was done to each layer.

    Raises:
        RecipeError: Not exactly one of `bits`, `rate` and `bytes` is given, a setting is out of range, every
            layer is left out or made zero, or zeros everywhere would take more than the budget.
        ModelError: A layer cannot be compressed or a block not reconstructed, the forward reads none of the
            weights, or they would become NaN or inf.
        DataError: There are no samples in `calibrate`, or the network does not take them.
    """
    require_one_amount(bits, rate, bytes)
    if not isinstance(steps, int) or steps < 0:
        raise RecipeError(f"steps is {steps!r}; use a whole number, 0 or more")
    model = unwrapped(model)
    if bits is None:
        if overrides:
            raise RecipeError(
                "overrides= gives layers other bits and goes with bits=; leave it out, or use skip"
            )
        return round_to_budget(model, rate, bytes, calibrate, skip, seed, weigh)
    plan = layer_bits(selected_layers(model, skip), bits, overrides or {})
    quantized = [name for name, asked in plan.items() if asked]
    if not quantized:
        raise RecipeError(f"no layer is left with levels; give bits from 1 to {MAX_BITS}")
    if calibrate is None:
        return quantize(model, bits, quantizer="dynamic", fit="mse", overrides=overrides, skip=skip)
    with in_float32(model):
        batches = read_once(model, calibrate)
        require_taken(model, batches)
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
