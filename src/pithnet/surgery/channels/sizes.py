"""What a forward computes of the sizes of its tensors, as formulas of the channels."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, fx

from pithnet.surgery.channels.formulas import Computed, Extent

_ARITHMETIC = (
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.pow, operator.neg,
)  # fmt: skip
_REFLECTED = ("shape", "size")


def formula_of(
    node: fx.Node,
    value: Any,
    values: Mapping[fx.Node, Any],
    marks: Mapping[fx.Node, Any],
    formulas: Mapping[fx.Node, Any],
) -> Any:
    """Returns how a number, or a tuple of sizes, depends on the channels; its value where that is not known.

    Args:
        node: What gives it.
        value: What it gave.
        values: What the nodes before it gave.
        marks: The symbols of what they gave.
        formulas: The formulas of those before it.
    """
    first = node.all_input_nodes[0]
    symbols = marks.get(first)
    if isinstance(symbols, Tensor):
        sizes = [Extent(symbols, axis) for axis in range(symbols.ndim)]
        return size_of(node, sizes) if is_shape(node) else value
    if node.target is operator.getitem:
        whole, place = formulas.get(first), node.args[1]
        return whole[place] if isinstance(whole, tuple) and isinstance(place, int | slice) else value
    if node.op == "call_function" and node.target in _ARITHMETIC:
        args = [formulas.get(a, values[a]) if isinstance(a, fx.Node) else a for a in node.args]
        return Computed(node.target, tuple(args))
    return value


def is_shape(node: fx.Node) -> bool:
    """Tells whether a node reads the shape of a tensor.

    Args:
        node: The node.
    """
    attribute = node.args[1] if node.target is getattr else node.target
    return attribute in _REFLECTED


def size_of(node: fx.Node, sizes: Sequence[Any]) -> Any:
    """Returns what a node reads of a tensor's shape, all sizes or one.

    Args:
        node: A node that `is_shape`.
        sizes: A formula for each axis.
    """
    dim: Any = node.args[1] if node.op == "call_method" and len(node.args) > 1 else node.kwargs.get("dim")
    return tuple(sizes) if dim is None else sizes[dim]
