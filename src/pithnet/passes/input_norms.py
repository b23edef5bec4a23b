"""Norms of what a layer's weights multiply, measured while a network runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import type_before_parametrizations

from pithnet.errors import ModelError
from pithnet.learn import call
from pithnet.passes.granularities import axes_of
from pithnet.surgery import Weighted
from pithnet.surgery.weights.holders import Holder, compressible


class InputNorms:
    """For each weight of each layer the L2 norm of all inputs that it multiplies, over calls of `watch`.

    Known are convolutions, transposed ones too, and matrices (outputs, inputs) or (inputs, outputs) that
    multiply the last axis of one input.

    Args:
        reader: The criterion that needs them, for messages.
        layers: As `selected_layers` gives them.

    Raises:
        ModelError: A layer is of another kind; the message names it.
    """

    def __init__(self, reader: str, layers: Sequence[tuple[str, Weighted]]) -> None:
        self.reader, self.layers = reader, layers
        self.squares: list[Tensor | None] = [None] * len(layers)
        for name, layer in layers:
            for holder in layer.holders:
                if not _is_known(holder):
                    raise ModelError(self._unknown(name, holder.module))

    def watch(self, model: nn.Module, inputs: Any) -> Any:
        """Runs the model on the inputs, as `learn.call` takes them, and returns its outputs."""
        handles = [
            holder.module.register_forward_pre_hook(self._hook(number), with_kwargs=True)
            for number, (_, layer) in enumerate(self.layers)
            for holder in layer.holders
        ]
        try:
            return call(model, inputs)
        finally:
            for handle in handles:
                handle.remove()

    def result(self) -> list[dict[str, Tensor]]:
        """Returns the norms, of shapes that broadcast to the weights'.

        Raises:
            ModelError: The network never called one of the layers; the message names it.
        """
        found = []
        for (name, _), squares in zip(self.layers, self.squares, strict=True):
            if squares is None:
                raise ModelError(
                    f"criterion {self.reader!r} needs the inputs of {name}, which the network never calls; "
                    "add it to skip, or choose another criterion"
                )
            found.append({"input_norm": squares.sqrt()})
        return found

    def _hook(self, number: int) -> Any:
        name, layer = self.layers[number]

        def add(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            x = next((v.detach() for v in (*args, *named.values()) if isinstance(v, Tensor)), None)
            if x is None:
                raise ModelError(self._unknown(name, module))
            if isinstance(module, _ConvNd):
                new = _convolution_squares(module, x)
            else:
                inputs = axes_of(layer, "channels")[-1]
                if x.shape[-1] != layer.weight.shape[inputs]:
                    raise ModelError(self._unknown(name, module))
                new = _matrix_squares(x, inputs)
            known = self.squares[number]
            self.squares[number] = new if known is None else known + new

        return add

    def _unknown(self, name: str, module: nn.Module) -> str:
        kind = type_before_parametrizations(module).__name__
        return (
            f"criterion {self.reader!r} needs the inputs of each weight, and of {name} ({kind}) they are not "
            "known, only of linear layers and convolutions; add it to skip, or choose another criterion"
        )


def _is_known(holder: Holder) -> bool:
    module = holder.module
    if isinstance(module, _ConvNd | nn.Linear):
        return True
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) or holder.tensor not in compressible(module):
        return False
    return len(compressible(module)) == 1 and getattr(module, holder.tensor).ndim == 2


def _matrix_squares(x: Tensor, axis: int) -> Tensor:
    """Sums of squares of x (..., inputs): (1, inputs), or (inputs, 1) where `axis` of the weight is 0."""
    squares = x.float().reshape(-1, x.shape[-1]).square().sum(0)
    return squares[None, :] if axis else squares[:, None]


def _convolution_squares(module: _ConvNd, x: Tensor) -> Tensor:
    """Sums of squares of the inputs under each place of the kernel: a shape that broadcasts to the weight's.

    The sum of outputs of the convolution of x^2 is linear in the weight, and its slope is what is wanted.
    """
    places = len(module.kernel_size)
    x = (x[None] if x.ndim == places + 1 else x).float().square().sum(0, keepdim=True)
    nothing, groups = (0,) * places, module.groups
    if module.transposed:
        assert not isinstance(module.padding, str)
        shape, padding, extra = (module.in_channels, 1), module.padding, module.output_padding
    else:
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
        # One output for each group: they are all alike.
        shape, padding, extra = (groups, module.in_channels // groups), nothing, nothing
    with torch.enable_grad():
        weight = x.new_ones((*shape, *module.kernel_size), requires_grad=True)
        outputs = torch.convolution(
            x, weight, None, module.stride, padding, module.dilation, module.transposed, extra, groups
        )
        (squares,) = torch.autograd.grad(outputs.sum(), weight)
    alike = module.out_channels // groups if groups > 1 and not module.transposed else 1
    return squares.repeat_interleave(alike, 0) if alike > 1 else squares
