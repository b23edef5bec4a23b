"""The inputs of one layer of a network, and the columns of them that its weight multiplies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from pithnet.errors import ModelError
from pithnet.passes.ptq.part_calls import arguments_of
from pithnet.surgery import Codebook, Weighted, parametrization


def inputs_of(model: nn.Module, name: str, batches: Sequence[tuple[Any, Any]]) -> Iterator[Tensor]:
    """Yields the inputs of a layer in eval mode, batch by batch; the network is run no further.

    Args:
        model: The network.
        name: The layer's.
        batches: What `read_once` gives.

    Yields:
        One tensor.

    Raises:
        ModelError: The network never calls the layer, or calls it with anything but one tensor by position;
            the message names it.
    """
    what = f"{name or 'the network'} ({_kind(model.get_submodule(name))})"
    for given in arguments_of(model, name, batches):
        if given is None:
            raise ModelError(f"the network never calls {what}; add it to quantize's skip")
        if given.named or len(given.args) != 1 or not isinstance(given.args[0], Tensor):
            raise ModelError(
                f"{what} is called with ({given}) and cannot be reconstructed, only what takes one tensor, "
                "by position; add it to quantize's skip"
            )
        yield given.args[0]


def require_columns(name: str, layer: Weighted) -> None:
    """Checks that `columns` knows a layer's kind and that no codebook holds it.

    Args:
        name: The layer's.
        layer: Its weight.

    Raises:
        ModelError: The layer is of another kind, or shared; the message names it.
    """
    module = layer.holders[0].module
    zero_padded = isinstance(module, nn.Conv2d) and module.padding_mode == "zeros"
    if not zero_padded and not isinstance(module, nn.Linear):
        raise ModelError(
            f"{name} ({_kind(module)}) cannot be reconstructed, only Conv2d padded with zeros and "
            "Linear; add it to quantize's skip, or leave the rounding to the nearest level"
        )
    require_own_values(name, layer)


def require_own_values(name: str, layer: Weighted) -> None:
    """Checks that no codebook holds a layer's values.

    Args:
        name: The layer's.
        layer: Its weight.

    Raises:
        ModelError: The layer is shared; the message names it.
    """
    if parametrization(layer, Codebook):
        raise ModelError(
            f"{name} is shared and cannot be reconstructed; start from the model before sharing, or add it "
            "to quantize's skip"
        )


def _kind(layer: nn.Module) -> str:
    return str(type_before_parametrizations(layer).__name__)


def columns(layer: nn.Module, x: Tensor) -> Tensor:
    """Returns, for each of G groups, the n columns that the rows of a weight (C, M) multiply: (G, M, n).

    Args:
        layer: A Conv2d or a Linear.
        x: Its input, (N, channels, H, W) for a Conv2d, (..., features) for a Linear.
    """
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1]).t()[None]
    assert isinstance(layer, nn.Conv2d)
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    padded = F.pad(x, (left, right, top, bottom))
    patches = F.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    grouped = patches.view(len(x), layer.groups, -1, patches.shape[-1])
    return grouped.permute(1, 2, 0, 3).flatten(2)
