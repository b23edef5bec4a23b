"""Biases of int8 layers as int32, on the grid of the layer's sums: every runtime then adds the same."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from pithnet.deploy.reading import read_proto

# What passes numbers on unchanged, so that its output lies on its input's grid.
_PASSES_ON = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity")
_LAYERS = ("Conv", "Gemm")
_MANTISSA = 24  # bits of a float32
_LARGEST = 2.0**30  # half of int32: the sum of products needs room too


def store_int32_biases(proto: onnx.ModelProto) -> None:
    """Replaces the float bias of every layer with a uint8 input, in place.

    A bias's step is input step * weight step of the channel (Jacob et al. 2018, section 2.4). Where that is
    too small for the bias to fit, as in a channel whose weights training has driven to almost nothing, the
    channel's weight step is made larger. A layer with float weights computes what it did.
    """
    graph = _Graph(proto.graph)
    for node in list(proto.graph.node):
        step = graph.step_of(node.input[0]) if node.op_type in _LAYERS else None
        if step is None:
            continue
        weights = graph.dequantized(node.input[1])
        if weights is None and node.input[1] in graph.stored:
            _keep_float(graph, node)
        elif weights is not None and len(node.input) == 3 and node.input[2] in graph.stored:
            _store(graph, node, step, weights)
    graph.drop_unused()


def with_stored_biases(model: nn.Module, path: str | Path) -> nn.Module:
    """Returns a copy of a fake-quantized model with the biases of its ONNX file, so that both agree.

    Args:
        model: The fake-quantized model.
        path: Its ONNX file. A layer that is called several times gets the biases of its first call.
    """
    graph, simulated = _Graph(read_proto(path).graph), copy.deepcopy(model)
    layers = dict(simulated.named_modules())
    for node in graph.proto.node:
        if node.op_type in _LAYERS and len(node.input) == 3 and node.name in layers:
            found = graph.dequantized(node.input[2])
            if found is not None:
                codes, step = (graph.array(name) for name in found.input[:2])
                bias: Any = layers[node.name].bias
                bias.data.copy_(torch.from_numpy(codes * step))
    return simulated


class _Graph:
    """An ONNX graph with its stored tensors and the node that makes each value."""

    def __init__(self, proto: onnx.GraphProto) -> None:
        self.proto = proto
        self.stored = {i.name: i for i in proto.initializer}
        self.made_by = {out: node for node in proto.node for out in node.output}

    def array(self, name: str) -> NDArray[Any]:
        return onnx.numpy_helper.to_array(self.stored[name])

    def store(self, name: str, array: NDArray[Any]) -> str:
        """Adds a tensor. The exporter lets equal tensors share a name, so none is ever changed in place."""
        self.proto.initializer.append(onnx.numpy_helper.from_array(array, name))
        self.stored[name] = self.proto.initializer[-1]
        return name

    def drop_unused(self) -> None:
        used = {value for node in self.proto.node for value in node.input}
        kept = [i for i in self.proto.initializer if i.name in used]
        del self.proto.initializer[:]
        self.proto.initializer.extend(kept)

    def dequantized(self, value: str) -> onnx.NodeProto | None:
        """Returns the DequantizeLinear of a stored tensor that makes a value; else None."""
        node = self.made_by.get(value)
        stored = node is not None and node.op_type == "DequantizeLinear" and node.input[0] in self.stored
        return node if stored else None

    def step_of(self, value: str) -> float | None:
        """Returns the step of the quantizer whose grid a value lies on."""
        node = self.made_by.get(value)
        while node is not None and node.op_type in _PASSES_ON:
            node = self.made_by.get(node.input[0])
        if node is None or node.op_type != "DequantizeLinear":
            return None
        return float(self.array(node.input[1]))


def _store(graph: _Graph, node: onnx.NodeProto, step: float, weights: onnx.NodeProto) -> None:
    bias, codes, before = (graph.array(v) for v in (node.input[2], *weights.input[:2]))
    needed = (np.abs(bias) / (_LARGEST * step)).astype(np.float32)
    dead = ~codes.reshape(len(codes), -1).any(1)
    # Any step serves a channel of zeros: the one at which its bias is finest.
    weight_step = np.where(dead & (needed > 0), needed, np.maximum(before, needed))
    if (weight_step != before).any():
        scaled = codes * (before / weight_step).reshape(-1, *[1] * (codes.ndim - 1))
        weights.input[0] = graph.store(f"{node.name}.weight_int8", np.rint(scaled).astype(np.int8))
        weights.input[1] = graph.store(f"{node.name}.weight_step", weight_step)
    scale = np.float32(step) * weight_step
    _set(graph, node, np.rint(bias.astype(np.float64) / scale), scale)


def _keep_float(graph: _Graph, node: onnx.NodeProto) -> None:
    """Writes the bias of a layer with float weights as integers too: the same numbers, 24 bits each.

    Between two quantizers ONNX Runtime rounds float weights on loading, to one int8 grid for the whole
    tensor. It leaves a layer alone whose bias is no stored float.
    """
    channels = graph.array(node.input[1]).shape[0]
    bias = graph.array(node.input[2]) if len(node.input) == 3 else np.zeros(channels, np.float32)
    mantissa, exponent = np.frexp(bias)
    scale = np.ldexp(np.float32(1), np.maximum(exponent, -100) - _MANTISSA)
    _set(graph, node, np.rint(np.ldexp(mantissa, exponent - np.maximum(exponent, -100) + _MANTISSA)), scale)


def _set(graph: _Graph, node: onnx.NodeProto, integers: NDArray[Any], scale: NDArray[np.float32]) -> None:
    """Gives the layer the bias integers * scale, both (C,)."""
    names = [f"{node.name}.bias_int32", f"{node.name}.bias_scale"]
    stored = [graph.store(names[0], integers.astype(np.int32)), graph.store(names[1], scale)]
    value = f"{node.name}.bias_float"
    graph.proto.node.insert(0, onnx.helper.make_node("DequantizeLinear", stored, [value], name=value, axis=0))
    del node.input[2:]
    node.input.append(value)
