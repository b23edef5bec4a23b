"""Modules of ONNX operators on integers, put in the place of a model's own: to be exported, not run."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx.ops import symbolic, symbolic_multi_out

from pithnet.deploy.exporting import OPSET
from pithnet.errors import ModelError
from pithnet.surgery import ActivationQuantizer, LearnedClip
from pithnet.tensor import integer_grid

# Kinds whose weight has the output channel first, and that runtimes have int8 kernels for.
Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
Quantizer = ActivationQuantizer | LearnedClip


class QuantizeDequantize(nn.Module):
    """A rounding of float32 to uint8 and back to float32, as ONNX operators.

    Args:
        quantizer: The activation quantizer whose scale and zero point it takes.

    Raises:
        ModelError: The quantizer is not of 8 bits, or not calibrated.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, name: str, quantizer: Quantizer) -> None:
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


class Int8Layer(nn.Module):
    """A layer whose weight is stored as int8 codes (C, ...) and a step per channel."""

    weight: Tensor
    weight_scale: Tensor
    weight_zero_point: Tensor
    bias: Tensor | None

    def __init__(self, layer: Layer, codes: Tensor, step: Tensor) -> None:
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


class DynamicLinear(nn.Module):
    """A linear layer whose input is quantized to uint8 per batch, and whose sums are integers."""

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        codes, step = integer_grid(layer.weight) or rounded(layer.weight)
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


class Int8Embedding(nn.Module):
    """A table whose rows are int8 codes: they are looked up as integers and multiplied by the row's step."""

    weight: Tensor
    weight_scale: Tensor

    def __init__(self, codes: Tensor, step: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", codes)
        self.register_buffer("weight_scale", step)

    def forward(self, tokens: Tensor) -> Tensor:
        steps = F.embedding(tokens, self.weight_scale.unsqueeze(1))
        return F.embedding(tokens, self.weight).float() * steps


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Returns int8 codes and float32 steps (C,): symmetric, the largest weight of a channel becomes 127."""
    step = weight.detach().abs().amax(1) / 127
    step = torch.where(step > 0, step, 1.0)
    return (weight.detach() / step[:, None]).round().to(torch.int8), step
