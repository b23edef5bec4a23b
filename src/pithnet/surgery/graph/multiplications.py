"""How many multiply-accumulates an operation takes, by its shapes, or as torch counts them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils.flop_counter import FlopCounterMode

from pithnet.surgery.graph.foldable import LAYERS, own_way
from pithnet.surgery.graph.operation import Kind, Operation

Formula = Callable[[tuple[Tensor, ...], Tensor], int]

# Of what a function was given, tensors in order, and what it gave. weight[0] is what an output number takes
# of a convolution, (outputs, inputs of a group, ...), and what an input number gives in a transposed one.
FORMULAS: dict[Kind, Formula] = {
    Kind.CONVOLUTION: lambda given, out: out.numel() * given[1][0].numel(),
    Kind.TRANSPOSED_CONVOLUTION: lambda given, out: given[0].numel() * given[1][0].numel(),
    Kind.LINEAR: lambda given, out: out.numel() * given[1].shape[-1],
    Kind.MATMUL: lambda given, out: out.numel() * given[0].shape[-1],
    Kind.ADD_MATMUL: lambda given, out: out.numel() * given[1].shape[-1],
    Kind.ATTENTION: lambda given, out: _attention(*given[:3]),
}


def has_formula(operation: Operation) -> bool:
    """Says whether shapes tell the multiply-accumulates of a function; composite ones are run."""
    return not operation.multiplies or operation.kind in FORMULAS


def macs_by_shapes(operation: Operation, given: tuple[Tensor, ...], out: Any) -> int:
    """Counts multiply-accumulates of a function that `has_formula`, by what it was given and gave."""
    return FORMULAS[operation.kind](given, out) if operation.multiplies else 0


def macs_by_running(run: Callable[[], Any]) -> tuple[int, Any]:
    """Runs, and returns the multiply-accumulates that torch's FlopCounterMode counts, with what `run` gives.

    torch's fused attention and recurrent layers, which it does not count, are kept from being used.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            torch.backends.mkldnn.flags(enabled=False),
            FlopCounterMode(display=False, custom_mapping=_COUNTED_TOO) as counter,
        ):
            value = run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // 2, value


def _flops_on_cpu(query: torch.Size, key: torch.Size, value: torch.Size, *args: Any, **named: Any) -> int:
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


# What scaled_dot_product_attention calls on the CPU, which torch's own list of counted operators lacks.
_COUNTED_TOO = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _flops_on_cpu}


def _attention(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Scores of every query with every key, and as many sums of values; masked ones count."""
    return _flops_on_cpu(query.shape, key.shape, value.shape) // 2


def layer_by_shapes(layer: nn.Module, args: tuple[Any, ...]) -> tuple[int, Tensor] | None:
    """Counts multiply-accumulates of a convolution or linear layer; gives zeros of its output's shape too.

    None for other modules, for those that may not compute as torch's do, and for inputs that do not fit: they
    have to be run.
    """
    if not isinstance(layer, LAYERS) or len(args) != 1 or own_way(layer, LAYERS) is not None:
        return None
    x = args[0]
    if isinstance(layer, nn.Linear):
        if not x.ndim or x.shape[-1] != layer.in_features:
            return None
        shape = (*x.shape[:-1], layer.out_features)
    else:
        assert isinstance(layer, _ConvNd)
        axes = len(layer.kernel_size)
        if x.ndim not in (axes + 1, axes + 2) or x.shape[-axes - 1] != layer.in_channels:
            return None
        shape = (*x.shape[: -axes - 1], layer.out_channels, *_one_channel(layer, x.shape[-axes:]).shape[2:])
    out = x.new_zeros(shape)
    return FORMULAS[_kind(layer)]((x, layer.weight), out), out


def _kind(layer: nn.Module) -> Kind:
    if isinstance(layer, nn.Linear):
        return Kind.LINEAR
    return Kind.TRANSPOSED_CONVOLUTION if isinstance(layer, _ConvTransposeNd) else Kind.CONVOLUTION


def _one_channel(layer: _ConvNd, sizes: torch.Size) -> Tensor:
    """What a layer like this one gives that has one channel: of the same sizes, and soon computed."""
    x, weight = torch.zeros(1, 1, *sizes), torch.zeros(1, 1, *layer.kernel_size)
    how: tuple[Any, ...] = (layer.dilation, 1)
    form = "conv"
    if isinstance(layer, _ConvTransposeNd):
        how, form = (layer.output_padding, 1, layer.dilation), "conv_transpose"
    found: Tensor = getattr(F, f"{form}{len(sizes)}d")(x, weight, None, layer.stride, layer.padding, *how)
    return found
