"""Models whose weights are int8 tensors and whose quantizers are ONNX operators: to be exported, not run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from pithnet.deploy.exporting import float32_copy
from pithnet.deploy.int8_modules import (
    DynamicLinear,
    Int8Embedding,
    Int8Layer,
    Layer,
    QuantizeDequantize,
    Quantizer,
    rounded,
)
from pithnet.errors import ModelError
from pithnet.surgery.weights.holders import module_paths
from pithnet.tensor import integer_grid


@dataclass(frozen=True, eq=False)
class Int8Model:
    """A model for `export_onnx` alone.

    Attributes:
        model: The model.
        in_float: Names of the layers left as they are. Their weights are not exact in int8, or another module
            computes with them, as attention does with its output layer's.
        cast: The dtype of the weights where it was not float32, such as "float16".
    """

    model: nn.Module
    in_float: tuple[str, ...]
    cast: str | None = None


@torch.no_grad()
def static_int8(model: nn.Module) -> Int8Model:
    """Returns a copy of a fake-quantized model whose quantizers are ONNX operators.

    Activation quantizers become uint8 pairs of QuantizeLinear and DequantizeLinear with their scale and zero
    point. Weights that lie on a grid of at most 255 symmetric levels in every output channel, as those of
    symmetric quantizers of up to 8 bits do, become int8 tensors with a scale per channel, those of embeddings
    with a scale per row; others stay in float, as do layers inside attention. float16, bfloat16 and float64
    are cast to float32.

    Raises:
        ModelError: The model has no activation quantizer, or one of other than 8 bits or not calibrated.
    """
    found, was = float32_copy(model)
    quantizers = [(names, m) for m, names in module_paths(found) if isinstance(m, Quantizer)]
    if not quantizers:
        raise ModelError(
            "the model has no quantized activations; "
            "run quantize(model, bits=8, activations=8, calibrate=images) first"
        )
    for names, quantizer in quantizers:
        found = _replaced(found, names, QuantizeDequantize(names[0], quantizer))
    in_float, inside = [], _inside(found)
    for names, layer in _layers(found):
        grid = None if layer in inside else integer_grid(layer.weight)
        if grid is None:
            in_float.append(names[0])
        else:
            found = _replaced(found, names, Int8Layer(layer, *grid))
    for names, table in _tables(found):
        grid = integer_grid(table.weight)
        if grid is None:
            in_float.append(names[0])
        else:
            found = _replaced(found, names, Int8Embedding(*grid))
    return Int8Model(found.requires_grad_(False), tuple(in_float), was)


@torch.no_grad()
def dynamic_int8(model: nn.Module) -> Int8Model:
    """Returns a copy in which linear layers quantize their input anew for every batch; nothing is calibrated.

    Their weights become int8, symmetric per output channel: exactly where they lie on such a grid already,
    else rounded to the nearest of 255 levels; so do those of embeddings, per row. Convolutions, layers inside
    attention, and layers with a forward of their own or with hooks stay in float, and so does what they cost.
    float16, bfloat16 and float64 are cast to float32.

    Raises:
        ModelError: The model has no linear layer.
    """
    found, was = float32_copy(model)
    inside = _inside(found)
    linear = [(n, m) for n, m in _layers(found) if isinstance(m, nn.Linear) and m not in inside and _plain(m)]
    if not linear:
        raise ModelError("dynamic int8 is for linear layers, and the model has none: use static int8")
    for names, layer in linear:
        found = _replaced(found, names, DynamicLinear(layer))
    for names, table in _tables(found):
        found = _replaced(found, names, Int8Embedding(*(integer_grid(table.weight) or rounded(table.weight))))
    in_float = tuple(names[0] for names, _ in _layers(found))
    return Int8Model(found.requires_grad_(False), in_float, was)


def _layers(model: nn.Module) -> list[tuple[tuple[str, ...], Layer]]:
    """Returns every layer once, with all its names."""
    return [(names, m) for m, names in module_paths(model) if isinstance(m, Layer)]


def _tables(model: nn.Module) -> list[tuple[tuple[str, ...], nn.Embedding]]:
    """Returns every embedding once that only looks rows up, with all its names."""
    found = [(names, m) for m, names in module_paths(model) if isinstance(m, nn.Embedding)]
    return [(names, table) for names, table in found if table.max_norm is None and _plain(table)]


def _plain(layer: nn.Linear | nn.Embedding) -> bool:
    """Tells whether a layer computes as torch's own does: no forward of its own, no hooks."""
    own = nn.Linear.forward if isinstance(layer, nn.Linear) else nn.Embedding.forward
    hooks = (layer._forward_hooks, layer._forward_pre_hooks)
    return type(layer).forward is own and "forward" not in vars(layer) and not any(hooks)


def _inside(model: nn.Module) -> set[nn.Module]:
    """Returns the layers that are not called: attention reads its output layer's weight and bias itself."""
    return {m.out_proj for m in model.modules() if isinstance(m, nn.MultiheadAttention)}


def _replaced(model: nn.Module, names: Iterable[str], part: nn.Module) -> nn.Module:
    """Returns the model with another part under those names, in place; the part itself where one is empty."""
    for name in names:
        if not name:
            return part
        model.set_submodule(name, part)
    return model
