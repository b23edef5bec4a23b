"""Names in an ONNX graph that are the model's own, and nothing of the machine that wrote it."""

from __future__ import annotations

import re
from collections import Counter

import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
# What computes new numbers, and is looked for by name where it is left in float.
_WORK = {
    "Add": "addition",
    "Mul": "product",
    "MatMul": "matrix product",
    "Softmax": "softmax",
    "LayerNormalization": "layer norm",
    "BatchNormalization": "batch norm",
    "InstanceNormalization": "instance norm",
    "GroupNormalization": "group norm",
    "ConvTranspose": "transposed convolution",
    "GRU": "GRU",
    "LSTM": "LSTM",
    "RNN": "RNN",
}


def clean(proto: onnx.ModelProto) -> None:
    """Names nodes after their layers, in place, and removes the exporter's notes: code, paths, kilobytes."""
    _name_by_scope(proto.graph)
    _strip_notes(proto)
    _name_layers(proto.graph)


def _layer(node: onnx.NodeProto, made_by: dict[str, onnx.NodeProto], weights: set[str]) -> str | None:
    for value in node.input:
        while value in made_by and made_by[value].op_type in ("DequantizeLinear", "Transpose"):
            value = made_by[value].input[0]
        if value in weights and value.endswith((".weight", ".weight_transposed")):
            return value.rpartition(".")[0]
    return None


def _name_layers(graph: onnx.GraphProto) -> None:
    made_by = {out: n for n in graph.node for out in n.output}
    weights = {i.name for i in graph.initializer}
    seen: Counter[str] = Counter()
    for node in graph.node:
        layer = None if node.op_type in ("DequantizeLinear", "Transpose") else _layer(node, made_by, weights)
        if layer is not None:
            seen[layer] += 1
            node.name = layer if seen[layer] == 1 else f"{layer} ({seen[layer]})"


def _name_by_scope(graph: onnx.GraphProto) -> None:
    """Names nodes after the module whose forward computes them, where the exporter noted it."""
    seen: Counter[str] = Counter()
    stored = {i.name for i in graph.initializer}
    for node in graph.node:
        notes = {p.key: p.value for p in node.metadata_props}
        scopes = re.findall(r"'([^']*)'", notes.get(_SCOPES, ""))
        work = _WORK.get(node.op_type)
        if work is None or len(scopes) < 2 or not scopes[-2]:
            continue
        # A layer's own product is called as the layer, what else it computes says what it is.
        own = node.op_type == "MatMul" and any(value in stored for value in node.input)
        name = scopes[-2] if own else f"{scopes[-2]} ({work})"
        seen[name] += 1
        number = f" {seen[name]}" if seen[name] > 1 else ""
        node.name = f"{name}{number}" if own or not number else f"{name[:-1]}{number})"


def _strip_notes(proto: onnx.ModelProto) -> None:
    graph = proto.graph
    del proto.metadata_props[:], graph.metadata_props[:]
    proto.doc_string = graph.doc_string = ""
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
