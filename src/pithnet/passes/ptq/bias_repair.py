"""Biases after the weights have changed: rounding shifts the mean of what a layer gives."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from pithnet.errors import ModelError
from pithnet.learn.batch import call
from pithnet.passes.calibration import Order, batches_of
from pithnet.passes.guard import guarded
from pithnet.passes.ptq.calls import Calls
from pithnet.surgery import evaluating, fold_into_layers_, in_float32

_Layer = _ConvNd | nn.Linear


@guarded
@torch.no_grad()
def correct_biases(model: nn.Module, reference: nn.Module, calibrate: Any) -> int:
    """Shifts biases, in place, so that every layer's mean output is `reference`'s again; returns how many.

    Means are taken per channel, on the same images (Nagel et al. 2019, section 4.2, with measured means). One
    pass does it: each layer is corrected by the batches so far before the next one sees its output, and one
    that is called several times in a forward by all its calls, each beside the same call there. It is for
    networks whose BN is folded into their layers (`quantize` with activations); where BN is left, its layers
    have no bias and `match_norms` does this. It warns as `quantize` does where the images are sorted by
    class.

    Args:
        model: The network after compression.
        reference: The network before compression; the BNs that the model lacks are folded in a copy of it.
        calibrate: A loader, or a tensor of images; labels are not needed.

    Raises:
        ModelError: No layer has a bias; or the reference lacks one of the layers, calls it less often, or has
            a BN that the model lacks and that cannot be folded.
        DataError: There are no images.
    """
    reference = _folded_alike(reference, model)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, _Layer) and m.bias is not None}
    theirs = {name: m for name, m in reference.named_modules() if isinstance(m, _Layer)}
    if not layers:
        raise ModelError("no layer has a bias to correct; repair the BatchNorm layers with match_norms")
    for name in layers:
        if name not in theirs:
            raise ModelError(f"the reference has no layer {name}; give the same network before compression")
    expected: Calls[Tensor] = Calls()
    handles = [theirs[name].register_forward_hook(_Note(name, expected)) for name in layers]
    handles += [layer.register_forward_hook(_Correct(name, expected)) for name, layer in layers.items()]
    order = Order()
    try:
        with in_float32(model, reference), evaluating(model), evaluating(reference):
            for inputs, labels in batches_of(model, calibrate):
                expected.clear()
                order.add(call(reference, inputs), labels)
                call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    order.warn()
    return len(layers)


def has_biases(model: nn.Module) -> bool:
    """Tells whether there is anything for `correct_biases`."""
    return any(isinstance(m, _Layer) and m.bias is not None for m in model.modules())


def _folded_alike(reference: nn.Module, model: nn.Module) -> nn.Module:
    """Returns the reference, or a copy of it in which the BNs that the model lacks are folded."""
    gone = _norms(reference) - _norms(model)
    if not gone:
        return reference
    folded = copy.deepcopy(reference)
    folding = fold_into_layers_(folded, only=gone)
    for name in sorted(gone.difference(folding.folded)):
        raise ModelError(
            f"the reference has a BatchNorm {name} that the model lacks, and that cannot be folded: "
            f"{folding.kept.get(name, 'it is called nowhere')}; give the same network before compression"
        )
    return folded


def _norms(model: nn.Module) -> set[str]:
    return {name for name, m in model.named_modules() if isinstance(m, _BatchNorm)}


def _means(layer: nn.Module, y: Tensor) -> Tensor:
    """Returns the mean of each output channel, (C,)."""
    over = range(y.ndim - 1) if isinstance(layer, nn.Linear) else [d for d in range(y.ndim) if d != 1]
    return y.mean(list(over))


class _Note:
    """A hook that keeps the means of a layer's output."""

    def __init__(self, name: str, means: Calls[Tensor]) -> None:
        self.name, self.means = name, means

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        self.means.add(self.name, _means(layer, y))


class _Correct:
    """A hook that moves a layer's bias by its mean error over the calls so far, and its output with it."""

    def __init__(self, name: str, expected: Calls[Tensor]) -> None:
        self.name, self.expected, self.calls = name, expected, 0

    def __call__(self, layer: _Layer, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
        self.calls += 1
        # The bias was moved by the earlier calls: what is left of the error is theirs and this one's mean.
        shift = (self.expected.take(self.name) - _means(layer, y)) / self.calls
        assert layer.bias is not None
        layer.bias += shift
        return y + (shift if isinstance(layer, nn.Linear) else shift.view(-1, *[1] * (y.ndim - 2)))
