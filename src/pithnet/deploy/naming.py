"""Names in an ONNX graph that are the model's own, and nothing of the machine that wrote it."""

from __future__ import annotations

import re
from collections import Counter

import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"


def clean(proto: onnx.ModelProto) -> None:
    """Names nodes after their layers, in place, and removes the exporter's notes: code, paths, kilobytes."""
    _name_additions(proto.graph)
    _strip_notes(proto)
    _name_layers(proto.graph)


def _layer(node: onnx.NodeProto, made_by: dict[str, onnx.NodeProto], weights: set[str]) -> str | None:
    for value in node.input:
        source = made_by.get(value)
        if source is not None and source.op_type in ("DequantizeLinear", "Transpose"):
            value = source.input[0]
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


def _name_additions(graph: onnx.GraphProto) -> None:
    """After the module whose forward adds, where the exporter noted it."""
    seen: Counter[str] = Counter()
    for node in graph.node:
        notes = {p.key: p.value for p in node.metadata_props}
        scopes = re.findall(r"'([^']*)'", notes.get(_SCOPES, ""))
        if node.op_type == "Add" and len(scopes) > 1 and scopes[-2]:
            seen[scopes[-2]] += 1
            number = f" {seen[scopes[-2]]}" if seen[scopes[-2]] > 1 else ""
            node.name = f"{scopes[-2]} (addition{number})"


def _strip_notes(proto: onnx.ModelProto) -> None:
    graph = proto.graph
    del proto.metadata_props[:], graph.metadata_props[:]
    proto.doc_string = graph.doc_string = ""
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
