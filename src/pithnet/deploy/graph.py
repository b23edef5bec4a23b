"""The graph that ONNX Runtime makes of a file: which operators run in int8, and which are left in float."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx

from pithnet.deploy.reading import read_proto
from pithnet.deploy.runtimes import OnnxSession

# Each kind of work: its operators in float, and in int8 after ONNX Runtime's fusions.
FLOAT = {
    "convolution": ("Conv", "FusedConv", "ConvTranspose"),
    "addition": ("Add",),
    "linear layer": ("Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
}
INT8 = {
    "convolution": ("QLinearConv", "ConvInteger"),
    "addition": ("QLinearAdd",),
    "linear layer": (
        "QGemm",
        "QLinearMatMul",
        "MatMulInteger",
        "DynamicQuantizeMatMul",
        "MatMulIntegerToFloat",
    ),
}
# What quantizes, or moves and picks numbers, and computes none: it works on int8 as it does on float.
_MOVES = (
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "Identity", "Constant"),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat", "Pad", "Expand"),
    *("Gather", "GatherND", "GatherElements", "Shape", "Size", "Range", "ConstantOfShape", "Tile", "MaxPool"),
    *("Where", "Equal", "Greater", "Less", "And", "Or", "Not", "DepthToSpace", "SpaceToDepth", "Trilu"),
)


@dataclass(frozen=True)
class Operators:
    """The operators of an optimised graph.

    Attributes:
        counts: How many there are of each ONNX name.
        float_names: The layers and additions left in float, by kind of work.
        in_float: Everything that computes with floating-point numbers, softmax and normalisations too, as
            operator -> names.
    """

    counts: dict[str, int]
    float_names: dict[str, tuple[str, ...]]
    in_float: dict[str, tuple[str, ...]]

    def int8(self, kind: str) -> int:
        """Returns how many operators of a kind ("convolution", "addition", "linear layer") run in int8."""
        return sum(self.counts.get(name, 0) for name in INT8[kind])

    def lines(self) -> list[str]:
        """Returns a line for people about each kind of work."""
        said = []
        for kind, left in self.float_names.items():
            count = self.int8(kind)
            if count + len(left):
                shown = ", ".join(left[:8]) + (f", ... ({len(left)} in all)" if len(left) > 8 else "")
                rest = f"; in float: {shown}" if left else ""
                said.append(f"{kind}s in int8: {count} of {count + len(left)}{rest}")
        return said


def operators(path: str | Path) -> Operators:
    """Returns an ONNX file's operators after ONNX Runtime's optimisations, but for those of memory layout.

    Raises:
        ModelError: The file cannot be read or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        OnnxSession(path, threads=1, save_optimised=optimised)
        graph = read_proto(optimised, weights=False).graph
    counts = Counter(node.op_type for node in graph.node)
    nodes = [n for n in graph.node if not (n.op_type == "Add" and _of_bias(graph, n))]
    left = {kind: tuple(_name(n) for n in nodes if n.op_type in ops) for kind, ops in FLOAT.items()}
    return Operators(dict(counts), left, _in_float(graph))


def _in_float(graph: onnx.GraphProto) -> dict[str, tuple[str, ...]]:
    named: dict[str, list[str]] = {}
    for node in graph.node:
        integers = any(node.op_type in ops for ops in INT8.values()) or node.op_type.startswith("QLinear")
        if not integers and node.op_type not in _MOVES and not _of_stored(graph, node):
            named.setdefault(node.op_type, []).append(_name(node))
    return {op: tuple(names) for op, names in sorted(named.items())}


def _of_stored(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Tells whether a node computes with stored tensors alone, as a bias's dequantization does."""
    stored = {i.name for i in graph.initializer}
    return bool(node.input) and all(value in stored for value in node.input if value)


def _name(node: onnx.NodeProto) -> str:
    """Returns the layer's name, to which ONNX Runtime adds what it fused it with."""
    return re.sub(r"/\w+Fusion/$", "", node.name.removeprefix("fused "))


def _of_bias(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Tells whether a summand is stored in the file: a linear layer's bias, not a joint of branches."""
    stored = {i.name for i in graph.initializer}
    return any(value in stored for value in node.input)
