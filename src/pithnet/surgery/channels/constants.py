"""Tensors that a forward reads by itself: scales of channels, tables of positions, weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import ParametrizationList

from pithnet.surgery.channels.symbols import varying
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.wrappers import plain_key

_MOVES = (Kind.RESHAPE, Kind.PERMUTE, Kind.EXPAND, Kind.SLICE, Kind.COPY, Kind.IDENTITY)
_BY_PLACE = (
    Kind.CAST, Kind.RELU, Kind.ACTIVATION, Kind.ELEMENTWISE, Kind.MULTIPLY, Kind.DIVIDE, Kind.ADD,
    Kind.SUBTRACT, Kind.DROPOUT,
)  # fmt: skip


def is_held(model: nn.Module, name: str) -> bool:
    """Tells whether a name is that of a parameter or buffer of the network, or of a parametrized tensor.

    Args:
        model: The network.
        name: The name.
    """
    path, _, tensor = name.rpartition(".")
    module = model.get_submodule(path)
    lists = getattr(module, "parametrizations", {})
    return tensor in module._parameters or tensor in module._buffers or tensor in lists


def parametrized_key(node: fx.Node, model: nn.Module) -> str | None:
    """Returns the name of the tensor that a node computes by its parametrizations; None for another node.

    Args:
        node: The node.
        model: The network.
    """
    if node.op != "call_module" or node.all_input_nodes:
        return None
    is_list = isinstance(model.get_submodule(str(node.target)), ParametrizationList)
    return plain_key(str(node.target).replace("parametrizations.", "")) if is_list else None


def constant_after(
    node: fx.Node, kind: Kind, value: Any, moved: fx.Node, symbols: Tensor, values: Any
) -> Tensor | None:
    """Returns symbols of a constant after an operation on constants; None where they are not all there.

    Args:
        node: The operation.
        kind: Its kind.
        value: What it gives.
        moved: The node that gives the constant.
        symbols: The constant's symbols, which lie along one axis.
        values: What nodes before it gave.
    """
    if not isinstance(value, Tensor):
        return None
    if kind in _MOVES and node.op != "call_module":
        after = _moved(node, moved, symbols, values)
        if after is None or not len(varying(after)) == len(varying(symbols)) == 1:
            return None
        return after if after.unique().numel() == symbols.unique().numel() else None
    others = [values[other] for other in node.all_input_nodes if other is not moved]
    if kind not in _BY_PLACE or any(isinstance(o, Tensor) and o.numel() > 1 for o in others):
        return None
    return symbols if value.shape == symbols.shape else None


def _moved(node: fx.Node, moved: fx.Node, symbols: Tensor, values: Any) -> Tensor | None:
    args, named = fx.map_arg(
        (node.args, node.kwargs), lambda other: symbols.contiguous() if other is moved else values[other]
    )
    try:
        if node.op == "call_method":
            found = getattr(args[0], str(node.target))(*args[1:], **named)
        else:
            function: Any = node.target
            found = function(*args, **named)
    except RuntimeError:
        return None
    return found if isinstance(found, Tensor) and found.dtype == torch.int64 else None
