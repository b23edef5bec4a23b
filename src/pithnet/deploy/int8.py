"""Models whose weights are int8 tensors and whose quantizers are ONNX operators: to be exported, not run."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.onnx.ops import symbolic, symbolic_multi_out

from pithnet.deploy.exporting import OPSET
from pithnet.errors import ModelError
from pithnet.surgery import ActivationQuantizer, LearnedClip, release_all
from pithnet.surgery.weights import module_paths
from pithnet.tensor import integer_grid

# Kinds whose weight has the output channel first, and that runtimes have int8 kernels for.
_Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear

_Quantizer = ActivationQuantizer | LearnedClip


@dataclass(frozen=True, eq=False)
class Int8Model:
    """model: for `export_onnx` alone. in_float: layers left as they are.

    Their weights are not exact in int8, or another module computes with them, as attention does with its
    output layer's.
    """

    model: nn.Module
    in_float: tuple[str, ...]


@torch.no_grad()
def static_int8(model: nn.Module) -> Int8Model:
    """A copy of a fake-quantized model in which quantizers are QuantizeLinear and DequantizeLinear operators.

    Activation quantizers become uint8 pairs with their scale and zero point. Weights that lie on a grid of at
    most 255 symmetric levels in every output channel, as those of symmetric quantizers of up to 8 bits do,
    become int8 tensors with a scale per channel; others stay in float, as do layers inside attention.
    Raises ModelError where there is no activation quantizer, or one of other than 8 bits or not calibrated.
    """
    found = copy.deepcopy(model).eval()
    release_all(found)
    quantizers = [(names, m) for m, names in module_paths(found) if isinstance(m, _Quantizer)]
    if not quantizers:
        raise ModelError(
            "the model has no quantized activations; "
            "run quantize(model, bits=8, activations=8, calibrate=images) first"
        )
    for names, quantizer in quantizers:
        found = _replaced(found, names, _QuantizeDequantize(names[0], quantizer))
    in_float, inside = [], _inside(found)
    for names, layer in _layers(found):
        grid = None if layer in inside else integer_grid(layer.weight)
        if grid is None:
            in_float.append(names[0])
        else:
            found = _replaced(found, names, _Int8Layer(layer, *grid))
    return Int8Model(found.requires_grad_(False), tuple(in_float))


@torch.no_grad()
def dynamic_int8(model: nn.Module) -> Int8Model:
    """A copy in which linear layers quantize their input anew for every batch; nothing is calibrated.

    Their weights become int8, symmetric per output channel: exactly where they lie on such a grid already,
    else rounded to the nearest of 255 levels. Convolutions and layers inside attention stay in float, and so
    does what they cost. Raises ModelError where there is no linear layer.
    """
    found = copy.deepcopy(model).eval()
    release_all(found)
    inside = _inside(found)
    linear = [(names, m) for names, m in _layers(found) if isinstance(m, nn.Linear) and m not in inside]
    if not linear:
        raise ModelError("dynamic int8 is for linear layers, and the model has none: use static int8")
    for names, layer in linear:
        found = _replaced(found, names, _DynamicLinear(layer))
    in_float = tuple(names[0] for names, _ in _layers(found))
    return Int8Model(found.requires_grad_(False), in_float)


def _layers(model: nn.Module) -> list[tuple[tuple[str, ...], _Layer]]:
    """Every layer once, with all its names."""
    return [(names, m) for m, names in module_paths(model) if isinstance(m, _Layer)]


def _inside(model: nn.Module) -> set[nn.Module]:
    """Layers that are not called: attention reads its output layer's weight and bias itself."""
    return {m.out_proj for m in model.modules() if isinstance(m, nn.MultiheadAttention)}


def _replaced(model: nn.Module, names: Iterable[str], part: nn.Module) -> nn.Module:
    """The model with another part under those names, in place; the part itself where one is empty."""
    for name in names:
        if not name:
            return part
        model.set_submodule(name, part)
    return model


class _QuantizeDequantize(nn.Module):
    """float32 -> uint8 -> float32, as ONNX operators."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, name: str, quantizer: _Quantizer) -> None:
        super().__init__()
        if quantizer.bits != 8:
            raise ModelError(
                f"{name} has {quantizer.bits} bits; int8 runtimes take activations of 8: use activations=8"
            )
        if isinstance(quantizer, ActivationQuantizer) and quantizer.observer is not None:
            raise ModelError(f"{name} is not calibrated yet; quantize(..., calibrate=images) does it")
        self.register_buffer("scale", quantizer.scale.float().clone())
        self.register_buffer("zero_point", quantizer.zero_point.to(torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        numbers = (self.scale, self.zero_point)
        q = symbolic("QuantizeLinear", (x, *numbers), dtype=torch.uint8, shape=x.shape, version=OPSET)
        return symbolic("DequantizeLinear", (q, *numbers), dtype=x.dtype, shape=x.shape, version=OPSET)


class _Int8Layer(nn.Module):
    """A layer whose weight is stored as int8 codes (C, ...) and a step per channel."""

    weight: Tensor
    weight_scale: Tensor
    weight_zero_point: Tensor
    bias: Tensor | None

    def __init__(self, layer: _Layer, codes: Tensor, step: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", codes)
        self.register_buffer("weight_scale", step)
        self.register_buffer("weight_zero_point", torch.zeros(len(step), dtype=torch.int8))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())
        # In a tuple, so that its tensors are not this module's too and stay out of the file.
        self._layer = (layer,)

    def forward(self, x: Tensor) -> Tensor:
        inputs = (self.weight, self.weight_scale, self.weight_zero_point)
        shape = self.weight.shape
        weight = symbolic(
            "DequantizeLinear", inputs, {"axis": 0}, dtype=torch.float32, shape=shape, version=OPSET
        )
        tensors = {"weight": weight} if self.bias is None else {"weight": weight, "bias": self.bias}
        y: Tensor = torch.func.functional_call(self._layer[0], tensors, (x,))
        return y


class _DynamicLinear(nn.Module):
    """A linear layer whose input is quantized to uint8 per batch, and whose sums are integers."""

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        codes, step = integer_grid(layer.weight) or _rounded(layer.weight)
        self.register_buffer("weight", codes.t().contiguous())
        self.register_buffer("weight_scale", step)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        q, scale, zero = symbolic_multi_out(
            "DynamicQuantizeLinear",
            (x,),
            dtypes=(torch.uint8, torch.float32, torch.uint8),
            shapes=(x.shape, (), ()),
            version=OPSET,
        )
        shape = (*x.shape[:-1], self.weight.shape[1])
        sums = symbolic(
            "MatMulInteger", (q, self.weight, zero), dtype=torch.int32, shape=shape, version=OPSET
        )
        y = sums.float() * (scale * self.weight_scale)
        return y if self.bias is None else y + self.bias


def _rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes and float32 steps (C,): symmetric, the largest weight of a channel becomes 127."""
    step = weight.detach().abs().amax(1) / 127
    step = torch.where(step > 0, step, 1.0)
    return (weight.detach() / step[:, None]).round().to(torch.int8), step
