"""Whether a network without some channels computes what the full-size one does in which they are zero."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.surgery.channels.groups import Channels
from pithnet.surgery.graph.inputs import call_arguments, tensors, tensors_as
from pithnet.surgery.graph.tracing import cause_of

_TOLERANCE = 1e-6  # of the largest number; it is of float32, which a forward may compute in by itself


@torch.no_grad()
def require_agreement(
    small: nn.Module, full: nn.Module, example: Any, channels: Channels, removed: Collection[int]
) -> None:
    """Checks on an example, in eval mode and float64, that two copies of a network give the same.

    Args:
        small: The network without the channels.
        full: The network with the channels zero.
        example: Inputs, as `find_channels` takes them.
        channels: All channels.
        removed: Those that are gone.

    Raises:
        ModelError: They do not; the message names the first layer where they differ.
    """
    inputs = tensors_as(example, lambda t: t.double() if t.is_floating_point() else t)
    of_full, of_small = _Outputs(full, channels), _Outputs(small, channels)
    expected = of_full.run(inputs)
    try:
        found = of_small.run(inputs)
    except Exception as e:
        raise ModelError(
            f"the network without the channels stops after {of_small.last}: {cause_of(e)}; a size that is "
            f"built into forward does it, as in view(-1, 64): write flatten(1), or skip={[of_small.last]!r}"
        ) from None
    for layer, value in of_full.outputs.items():
        if not of_small.agrees(layer, value, removed):
            raise ModelError(
                f"without the channels {layer} gives other numbers than with these channels zero; "
                f"a size or an index built into forward before it does it: leave them with skip={[layer]!r}"
            )
    if not all(_close(a, b) for a, b in zip(tensors(found), tensors(expected), strict=True)):
        raise ModelError(
            "the network without the channels gives other numbers than with these channels zero, "
            f"after {of_small.last}: leave what comes last with skip"
        )


class _Outputs:
    """A copy in float64, with what its layers with channels give."""

    def __init__(self, model: nn.Module, channels: Channels) -> None:
        self.model = copy.deepcopy(model).eval().double()
        self.channels = channels
        self.outputs: dict[str, Tensor] = {}
        self.last = "the input"
        modules = dict(self.model.named_modules())
        for layer in dict.fromkeys(channels.makers.values()):
            if layer in modules:  # another is a weight that a function is given
                modules[layer].register_forward_hook(self._hook(layer))

    def _hook(self, layer: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            self.outputs[layer], self.last = output.clone(), layer

        return hook

    def run(self, inputs: Any) -> Any:
        args, named = call_arguments(tensors_as(inputs, torch.clone))
        return self.model(*args, **named)

    def agrees(self, layer: str, value: Tensor, removed: Collection[int]) -> bool:
        """Tells whether a layer gives the kept channels of what the full-size one gives."""
        index = self.channels.kept_outputs(layer, removed).to(value.device)
        module = self.model.get_submodule(layer)
        weight = module.weight
        assert isinstance(weight, Tensor)
        axis = -1 if weight.ndim == 2 else value.ndim - weight.ndim + 1
        found = self.outputs[layer]
        expected = value.index_select(axis, index)
        return found.shape == expected.shape and _close(found, expected)


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    if not found.is_floating_point() or not found.numel():
        return torch.equal(found, expected)
    return bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max().clamp(min=1e-30))
