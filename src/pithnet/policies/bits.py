"""Bits for every layer: what its rounding does to the answers, and the best use of a budget; no labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pithnet.errors import ModelError, RecipeError, lookup
from pithnet.learn.batch import call, describe, logits_of
from pithnet.passes.bit_widths import FLOAT_BITS
from pithnet.passes.calibration import batches_of, read_once
from pithnet.passes.layers import selected_layers
from pithnet.passes.quantize import quantize
from pithnet.policies.knapsack import cheapest_choices
from pithnet.surgery import evaluating, weighted_layers
from pithnet.tensor.quantizers import require_bits

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
Sensitivity = Mapping[str, Sequence[float]]


def _kl(logits: Tensor, teacher: Tensor) -> float:
    """Returns the KL divergence of answers (N, C) from the teacher's, in nats per image."""
    if teacher.ndim != 2 or teacher.shape[1] < 2:
        raise ModelError(
            f'measure="kl" compares class logits (N, C >= 2), and the model returns {describe(teacher)}; '
            'use measure="mse"'
        )
    found = F.kl_div(logits.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="sum")
    return max(float(found) / len(logits), 0.0)


def _mse(logits: Tensor, teacher: Tensor) -> float:
    """Returns the mean squared difference of the outputs."""
    return float(F.mse_loss(logits, teacher))


MEASURES: dict[str, Callable[[Tensor, Tensor], float]] = {"kl": _kl, "mse": _mse}


@torch.no_grad()
def divergence(model: nn.Module, reference: nn.Module, calibrate: Any, measure: str = "kl") -> float:
    """Returns how far the outputs of a model are from those of `reference` on the images.

    It is a number to choose by without labels.

    Args:
        model: The network.
        reference: The network before it was changed.
        calibrate: A loader, or a tensor of images.
        measure: "kl" for class logits, in nats per image, or "mse" for any outputs.

    Raises:
        RecipeError: The measure is unknown.
        ModelError: The measure is "kl" and the outputs are no class logits (N, C >= 2).
        DataError: There are no images.
    """
    distance = lookup("measure", measure, MEASURES, RecipeError)
    batches = read_once(model, calibrate)
    return distance(_outputs(model, batches), _outputs(reference, batches))


@torch.no_grad()
def sensitivity(
    model: nn.Module,
    calibrate: Any,
    *,
    widths: Sequence[int] = WIDTHS,
    measure: str = "kl",
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    **scheme: Any,
) -> dict[str, tuple[float, ...]]:
    """Returns what quantizing each layer alone does to the model's outputs on the images.

    The model is left as it is; every width of every layer is one run over the images.

    Args:
        model: The network.
        calibrate: A loader, or a tensor of images; labels are not needed.
        widths: The bits to try.
        measure: "kl" for class logits, in nats per image, or "mse" for any outputs.
        skip: Patterns of layers to leave out.
        also: Patterns of further parameters to take.
        **scheme: Further arguments of `quantize`, for weights.

    Returns:
        For each layer the measure at each of `widths`, by name.

    Raises:
        RecipeError: The measure is unknown, bits are out of range, or `quantize` refuses the scheme.
        ModelError: The measure is "kl" and the outputs are no class logits, or a layer cannot be quantized.
        DataError: There are no images.
    """
    distance = lookup("measure", measure, MEASURES, RecipeError)
    for bits in widths:
        require_bits(bits)
    batches = read_once(model, calibrate)
    teacher = _outputs(model, batches)
    options, found = {"skip": skip, "also": also, **scheme}, {}
    for name, _ in selected_layers(model, skip, also):
        found[name] = tuple(
            distance(_outputs(_with_one(model, name, bits, options), batches), teacher) for bits in widths
        )
    return found


def _with_one(model: nn.Module, name: str, bits: int, options: Mapping[str, Any]) -> nn.Module:
    trial = copy.deepcopy(model)
    quantize(trial, None, overrides={name: bits}, **options)
    return trial


def _outputs(model: nn.Module, batches: Sequence[tuple[Any, Any]]) -> Tensor:
    with evaluating(model):
        return torch.cat([logits_of(call(model, inputs)).float() for inputs, _ in batches_of(model, batches)])


def allocate_bits(
    model: nn.Module,
    sensitivities: Sensitivity,
    *,
    widths: Sequence[int] = WIDTHS,
    average_bits: float | None = None,
    size: int | None = None,
) -> dict[str, int]:
    """Returns bits for each layer, of least harm in sum within one budget: `quantize`'s overrides.

    Harms of layers quantized alone are added up, which holds while they are small.

    Args:
        model: The network.
        sensitivities: For each layer the harm at each of `widths`, as `sensitivity` returns it.
        widths: The bits to choose from.
        average_bits: The budget, as the function `average_bits(model)` counts: over the weights of all
            layers, those without a sensitivity with 32.
        size: The budget in bytes of the layers' weights in as many bits, scales and entropy coding not
            counted.

    Raises:
        RecipeError: Both budgets are given or neither, the `widths` are not those of the sensitivities, or
            the fewest of them exceed the budget.
    """
    for name, harms in sensitivities.items():
        if len(harms) != len(widths):
            raise RecipeError(
                f"{name} has {len(harms)} sensitivities and there are {len(widths)} widths; give the same "
                "widths to sensitivity and to allocate_bits"
            )
    sizes = {name: layer.weight.numel() for name, layer in weighted_layers(model, tuple(sensitivities))}
    if (average_bits is None) == (size is None):
        raise RecipeError("give one budget, average_bits or size")
    if average_bits is not None:
        left_out = sum(n for name, n in sizes.items() if name not in sensitivities)
        # A budget that is itself an average, rounded, should allow what it was the average of.
        budget = math.floor(average_bits * sum(sizes.values()) + 1e-6) - FLOAT_BITS * left_out
    else:
        assert size is not None
        budget = 8 * size
    costs = list(sensitivities.values())
    prices = [[sizes[name] * bits for bits in widths] for name in sensitivities]
    choices = cheapest_choices(costs, prices, budget)
    return {name: widths[choice] for name, choice in zip(sensitivities, choices, strict=True)}
