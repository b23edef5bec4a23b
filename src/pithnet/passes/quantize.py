"""Quantization: few evenly spaced levels for weights, and unsigned integers for activations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError, RecipeError, require_known
from pithnet.heartbeat import working
from pithnet.learn.batch import tensors
from pithnet.passes.bit_widths import layer_bits
from pithnet.passes.calibration import first_sample, run_through
from pithnet.passes.guard import guarded
from pithnet.passes.layers import selected_layers
from pithnet.passes.records import Record
from pithnet.results import LayerRow
from pithnet.surgery import (
    ActivationQuantizer,
    FakeQuantizer,
    Folding,
    LearnedClip,
    TrainedLevels,
    Weighted,
    fake_quantizer,
    fold_into_layers_,
    insert_activation_quantizers_,
    parametrization,
    set_fake_quantizer,
    unquantized_weight,
    unwrapped,
)
from pithnet.surgery.graph.insertion import HOME
from pithnet.tensor.observers import get_observer
from pithnet.tensor.quantizers import (
    FITS,
    GROUP_SIZE,
    MAX_BITS,
    QUANTIZERS,
    fit_levels,
    get_quantizer,
    require_granularity,
)

CLIPS = ("observed", "learned")


@dataclass(frozen=True)
class WeightScheme:
    """How weights are quantized.

    The fields are the arguments of `quantize` of the same names.

    Raises:
        RecipeError: A name is unknown, or the quantizer and the granularity cannot be had so.
    """

    quantizer: str = "linear"
    symmetric: bool | None = None
    granularity: str = "channel"
    group_size: int = GROUP_SIZE
    fit: str = "mse"

    def __post_init__(self) -> None:
        get_quantizer(self.quantizer, MAX_BITS, self.symmetric)
        require_granularity(self.granularity, self.group_size)
        require_known("fit", self.fit, FITS, RecipeError)

    def apply(self, layer: Weighted, bits: int) -> None:
        """Quantizes the layer's weight, in place."""
        set_fake_quantizer(layer, self.part(unquantized_weight(layer), bits, layer.channel_axes))

    def part(self, weight: Tensor, bits: int, axes: Sequence[int] = (0,)) -> FakeQuantizer:
        """Returns a fake quantizer for a weight whose channels lie along `axes`.

        Its levels follow the weight, unless they are fitted otherwise or learned.
        """
        part = FakeQuantizer(
            get_quantizer(self.quantizer, bits, self.symmetric),
            self.granularity,
            self.group_size,
            axes=axes,
        )
        learned = QUANTIZERS[self.quantizer].learned
        if self.fit != "range" or learned:
            part.fix(fit_levels(part.quantizer, part.rows(weight.detach()), self.fit))
        if self.fit != "range" and not learned:
            part.settle(weight)  # nothing moves these any more: what repairs them should see a file's levels
        return part


@dataclass(frozen=True)
class ActivationScheme:
    """How activations are quantized.

    `bits`, `observer` and `clip` are `quantize`'s `activations`, `observer` and `clip`.

    Raises:
        RecipeError: The bits are outside 1 to 8, or a name is unknown.
    """

    bits: int = 8
    observer: str = "mse"
    clip: str = "observed"

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= MAX_BITS:
            raise RecipeError(
                f"activations take from 1 to {MAX_BITS} bits, or None for float, not {self.bits}"
            )
        require_known("clip", self.clip, CLIPS, RecipeError)
        get_observer(self.observer)

    def quantizer(self, place: str) -> ActivationQuantizer:
        """Returns a new quantizer, which observes what is computed at `place`."""
        return ActivationQuantizer(self.bits, get_observer(self.observer, self.bits), place)


@guarded
@torch.no_grad()
def quantize(
    model: nn.Module,
    bits: int | None,
    *,
    quantizer: str = "linear",
    symmetric: bool | None = None,
    granularity: str = "channel",
    group_size: int = GROUP_SIZE,
    fit: str = "mse",
    overrides: Mapping[str, int | None] | None = None,
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    activations: int | None = None,
    observer: str = "mse",
    clip: str = "observed",
    calibrate: Any = None,
) -> Record:
    """Quantizes weights, and activations where asked to, in place; any training loop then trains them.

    Masks stay and come first: a pruned weight is exactly zero and takes no level. With `activations`
    BatchNorm is multiplied into the layers before it where these are known to compute as torch's do; the
    record names every BN that stays in float, with the reason. The model's class becomes one derived from it,
    whose forward has the quantizers. Run it before the optimizer is built: parameters may be replaced.

    A warning (UserWarning) says where the calibration images are sorted by class.

    Args:
        model: The network, quantized in place.
        bits: 1 to 8 per weight, 0 for zeros, None for float.
        quantizer: "linear" (whole multiples of a step: what int8 runtimes take), "dynamic" (from the smallest
            to the largest non-zero weight), "lsq" (learned step) or "apot" (additive powers of two, with a
            learned range).
        symmetric: Whether levels come in pairs; None is the quantizer's own way: yes for linear and apot.
        granularity: What shares a step: a "tensor", a "channel" (an output of the layer: an entry of the
            weight's first axis, or of the `channel_axis` its kind is registered with), or a "group" of
            `group_size` neighbouring weights of a channel.
        group_size: The weights of a group; it has no say for the other granularities.
        fit: "range" spans all weights and follows them in training; "mse" fixes those of least squared error.
        overrides: Bits for some layers: name, part of the network ("layer1") or pattern -> bits; the last one
            that fits counts.
        skip: As `prune`'s.
        also: As `prune`'s.
        activations: Bits of the activations, unsigned, with a zero point; it needs `calibrate`.
        observer: A name in `pithnet.tensor.observers.OBSERVERS`: how ranges of activations are found.
        clip: "observed" ranges, or "learned" ones (PACT) where activations are never negative.
        calibrate: A loader, a tensor of images (N, ...), or a dict of such tensors by the arguments of a
            model of several inputs; labels are not needed.

    Returns:
        The zeros, levels and bits of each layer, and the BNs that stay in float. The model is as it was where
        one of the following errors is raised.

    Raises:
        RecipeError: An argument is out of range, or a pattern matches nothing.
        DataError: `activations` is given, and there are no images.
        ModelError: A layer cannot be quantized, as `selected_layers` says, or is training its levels. With
            `activations`: the forward cannot be followed, calls F.dropout, or does something else in train
            mode (a module without weights, such as drop path, may; so may every module where no parameter
            trains); or activations are constant or NaN, and the message names their place.
    """
    model = unwrapped(model)
    scheme = WeightScheme(quantizer, symmetric, granularity, group_size, fit)
    named = dict(overrides or {})
    chosen = partial(selected_layers, skip=skip, also=also)
    plan = layer_bits(_quantizable(chosen(model)), bits, named)
    norms: Mapping[str, str] = {}
    if activations is not None:
        how = ActivationScheme(activations, observer, clip)
        norms = _quantize_activations(
            model, how, calibrate, lambda m: _quantize_weights(chosen(m), scheme, plan)
        )
    else:
        _quantize_weights(chosen(model), scheme, plan)
    what = f"quantize {quantizer} {bits} bits" + (f", activations {activations}" if activations else "")
    record = Record.of(model, what, (layer_row(name, layer) for name, layer in chosen(model)), skip)
    return replace(record, norms_in_float=norms)


def _quantizable(layers: list[tuple[str, Weighted]]) -> list[tuple[str, Weighted]]:
    for _, layer in layers:
        if parametrization(layer, TrainedLevels):
            raise ModelError(f"{layer.keys[0]} is training its levels; run freeze_levels before quantizing")
    return layers


def _quantize_weights(
    layers: list[tuple[str, Weighted]], scheme: WeightScheme, plan: Mapping[str, int | None]
) -> None:
    with working("quantize", len(layers), "layers") as step:
        for name, layer in layers:
            bits = plan[name]
            if bits is not None:
                scheme.apply(layer, bits)
            step.advance()


def _quantize_activations(
    model: nn.Module, how: ActivationScheme, calibrate: Any, quantize_weights: Callable[[nn.Module], None]
) -> Mapping[str, str]:
    """Inserts settled quantizers, in place, and quantizes the weights of the folded network.

    Returns the BNs that are not folded, and why, by name.
    """
    if isinstance(calibrate, Iterator):
        calibrate = list(calibrate)  # a generator would be empty after the example
    example = first_sample(model, calibrate)
    # The images go through a copy: they may turn out to be unusable, and then the model is as it was.
    trial = copy.deepcopy(model)
    watching, _ = _inserted(trial, how, example, quantize_weights)
    run_through(trial, calibrate)
    for quantizer in watching.values():
        quantizer.settle()
    inserted, folding = _inserted(model, how, example, quantize_weights)
    for name, quantizer in inserted.items():
        quantizer.observer = None
        quantizer.load_state_dict(watching[name].state_dict())
        if how.clip == "learned" and not int(quantizer.zero_point):
            model.set_submodule(f"{HOME}.{name}", LearnedClip(quantizer))
    return folding.kept


def _inserted(
    model: nn.Module, how: ActivationScheme, example: Any, quantize_weights: Callable[[nn.Module], None]
) -> tuple[dict[str, ActivationQuantizer], Folding]:
    folding = fold_into_layers_(model, example)
    found = insert_activation_quantizers_(model, example, how.quantizer)
    for quantizer in found.values():
        quantizer.to(next(tensors(example)).device)
    quantize_weights(model)
    return found, folding


def layer_row(name: str, layer: Weighted) -> LayerRow:
    """Returns the row of a layer after quantization."""
    values, found = layer.weight.detach(), fake_quantizer(layer)
    zeros = int((values == 0).sum())
    if found is None:
        return LayerRow(name, values.numel(), zeros)
    used = found.used_codes(unquantized_weight(layer))
    return LayerRow(name, values.numel(), zeros, used.unique().numel(), bits=found.quantizer.bits)
