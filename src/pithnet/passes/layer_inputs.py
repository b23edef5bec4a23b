"""What goes into one layer of a network, as columns that its weight multiplies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from pithnet.errors import ModelError
from pithnet.learn.evaluation import evaluating
from pithnet.passes.calibration import images_of


class _Reached(Exception):
    """The layer has its input; what comes after it is not needed."""


@torch.no_grad()
def inputs_of(model: nn.Module, layer: nn.Module, calibrate: Any) -> Iterator[Tensor]:
    """The inputs of the layer in eval mode, batch by batch; the network is run no further than to the layer.

    Raises ModelError where the network never calls it.
    """
    found: list[Tensor] = []

    def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0])
        raise _Reached

    device = next(model.parameters()).device
    with evaluating(model):
        for images, _ in images_of(calibrate, device):
            handle = layer.register_forward_pre_hook(stop)
            try:
                model(images)
            except _Reached:
                yield found.pop()
            else:
                raise ModelError(f"the network never calls its {_kind(layer)}; add it to quantize's skip")
            finally:
                handle.remove()


def require_columns(name: str, layer: nn.Module) -> None:
    """Raises ModelError, with the layer's name, unless `columns` knows layers of its kind."""
    known = isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros")
    if not known:
        raise ModelError(
            f"{name} ({_kind(layer)}) cannot be reconstructed, only Conv2d padded with zeros and "
            "Linear; add it to quantize's skip, or leave the rounding to the nearest level"
        )


def _kind(layer: nn.Module) -> str:
    return str(type_before_parametrizations(layer).__name__)


def columns(layer: nn.Module, x: Tensor) -> Tensor:
    """(G, M, n): for each of G groups the n columns that the rows of the layer's weight (C, M) multiply.

    x: the layer's input, (N, channels, H, W) for a Conv2d, (..., features) for a Linear.
    """
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1]).t()[None]
    assert isinstance(layer, nn.Conv2d)
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    padded = F.pad(x, (left, right, top, bottom))
    patches = F.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    grouped = patches.view(len(x), layer.groups, -1, patches.shape[-1])
    return grouped.permute(1, 2, 0, 3).flatten(2)
