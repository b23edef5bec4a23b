"""Roundings chosen for what layers compute, not for the weights alone: no labels, no network training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError, RecipeError, lookup
from pithnet.passes.calibration import read_once
from pithnet.passes.guard import guarded
from pithnet.passes.ptq.adaround import STEPS, learn_rounding
from pithnet.passes.ptq.layer_inputs import columns, inputs_of, require_columns
from pithnet.surgery import (
    FakeQuantizer,
    fake_quantizer,
    in_float32,
    set_latent_weight,
    unquantized_weight,
    weighted_layers,
)
from pithnet.tensor.quantizers import Levels
from pithnet.tensor.second_order import round_by_hessian

Rounding = Callable[[nn.Module, Tensor, FakeQuantizer, Iterable[Tensor]], Tensor]


@guarded
def reconstruct(model: nn.Module, calibrate: Any, method: str = "gptq", *, steps: int = STEPS) -> int:
    """Rounds quantized layers of `model` anew, in place, each for least change of its output on the images.

    It goes layer by layer in the order of the network, with inputs as the layers rounded before give them.
    Levels are those that `quantize` chose and are fixed from here on; zeros stay. Float16 and bfloat16 models
    are computed in float32. Where it raises, the model is as it was.

    Args:
        model: The quantized network.
        calibrate: A loader, or a tensor of images; 500 to 1,000 images do, labels are not needed.
        method: "gptq", closed form, errors made good by later weights (Frantar et al. 2022); or "adaround",
            up or down learned by gradient descent on the layer alone (Nagel et al. 2020).
        steps: Of "adaround", for each layer; the closed form has none.

    Returns:
        The number of layers.

    Raises:
        RecipeError: The method is unknown.
        DataError: There are no images.
        ModelError: Nothing is quantized, or a layer is no Conv2d or Linear, is shared, or is not called with
            one tensor; the message names it.
    """
    roundings: dict[str, Rounding] = {"gptq": _gptq, "adaround": partial(_adaround, steps=steps)}
    choose = lookup("reconstruction", method, roundings, RecipeError)
    layers = [(name, layer, fake_quantizer(layer)) for name, layer in weighted_layers(model)]
    quantized = [
        (name, layer, part) for name, layer, part in layers if part is not None and part.quantizer.bits
    ]
    if not quantized:
        raise ModelError("no layer is quantized; run quantize(model, bits=...) before reconstructing")
    for name, layer, _ in quantized:
        require_columns(name, layer)
    with in_float32(model):
        batches = read_once(model, calibrate)
        for name, _, _ in quantized:
            list(inputs_of(model, name, batches[:1]))  # raises here what would else come halfway
        for name, layer, part in quantized:
            with torch.no_grad():
                weight = unquantized_weight(layer)
                part.fix(part.levels(part.rows(weight)))
            inputs = inputs_of(model, name, batches)
            rounded = choose(layer.holders[0].module, weight, part, inputs)
            set_latent_weight(layer, rounded)
    return len(quantized)


def _gptq(module: nn.Module, weight: Tensor, part: FakeQuantizer, inputs: Iterable[Tensor]) -> Tensor:
    hessian, count = torch.zeros(()), 0
    for x in inputs:
        found = columns(module, x)
        hessian = hessian + found @ found.transpose(1, 2)
        count += found.shape[2]
    rows, levels = weight.flatten(1), _levels_of_weights(part, weight)
    groups = len(hessian)
    per_group = [
        round_by_hessian(w, h / count, part.quantizer, Levels(*parts))
        for w, h, *parts in zip(
            rows.chunk(groups), hessian, *(level.chunk(groups) for level in levels), strict=True
        )
    ]
    return torch.cat(per_group).view_as(weight)


def _levels_of_weights(part: FakeQuantizer, weight: Tensor) -> Levels:
    """Returns scale and offset of every weight, (C, M)."""
    rows = part.rows(weight)
    return Levels(*(part.from_rows(v[:, None].expand_as(rows), weight).flatten(1) for v in part.levels(rows)))


def _adaround(
    module: nn.Module, weight: Tensor, part: FakeQuantizer, inputs: Iterable[Tensor], steps: int
) -> Tensor:
    return learn_rounding(module, weight, part, torch.cat(list(inputs)), steps)
