"""Tensors that a forward reads by itself: scales of channels, tables of positions, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import ParametrizationList

from pithnet.surgery.channels.formulas import Extent
from pithnet.surgery.channels.sizes import size_of
from pithnet.surgery.channels.symbols import Book, Place, spread, varying, vector
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.wrappers import plain_key

_MOVES = (Kind.RESHAPE, Kind.PERMUTE, Kind.EXPAND, Kind.SLICE, Kind.COPY, Kind.IDENTITY)
_BY_PLACE = (
    Kind.CAST, Kind.RELU, Kind.ACTIVATION, Kind.ELEMENTWISE, Kind.MULTIPLY, Kind.DIVIDE, Kind.ADD,
    Kind.SUBTRACT, Kind.DROPOUT, Kind.COMPARE,
)  # fmt: skip
_REDUCE = (Kind.MEAN, Kind.SUM, Kind.REDUCTION)
REDUCTIONS = (
    "mean", "nanmean", "sum", "nansum", "amax", "amin", "std", "var", "prod", "logsumexp", "norm",
    "vector_norm",
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


@dataclass(frozen=True)
class Constants:
    """An operation on constants alone.

    Attributes:
        node: The operation.
        kind: Its kind.
        value: What it gives.
        values: What nodes before it gave.
        known: For nodes that give tensors of the network's the symbols along each axis.
        book: Where is noted what goes together.
    """

    node: fx.Node
    kind: Kind
    value: Any
    values: Mapping[fx.Node, Any]
    known: Mapping[fx.Node, Mapping[Place, Tensor]]
    book: Book

    @property
    def called(self) -> str:
        """The name of the function or method."""
        target = self.node.target
        return target if isinstance(target, str) else str(getattr(target, "__name__", target))

    @property
    def inputs(self) -> Sequence[fx.Node]:
        """What it computes with; a cast reads the type of what else it is given."""
        return self.node.all_input_nodes[: 1 if self.kind is Kind.CAST else None]

    def after(self) -> dict[Place, Tensor]:
        """Returns the symbols of the result; without those of which it is not known where they come to be."""
        if not isinstance(self.value, Tensor) or self.node.op == "call_module":
            return {}
        if self.kind in _BY_PLACE and self.called not in ("tril", "triu"):
            return self._met()
        move = self._moved if self.kind in _MOVES else self._reduced if self.kind in _REDUCE else None
        found: dict[Place, Tensor] = {}
        for node in self.inputs if move is not None else ():
            for place, symbols in self.known.get(node, {}).items():
                after = move(node, symbols)  # type: ignore[misc]
                if after is not None:
                    found[place] = after
        return found

    def size(self) -> Any:
        """Returns the formula of what a node reads of a constant's shape."""
        node = self.node.all_input_nodes[0]
        sizes: list[Any] = list(self.values[node].shape)
        for symbols in self.known.get(node, {}).values():
            for axis in varying(symbols):
                sizes[axis] = Extent(symbols, axis)
        return size_of(self.node, sizes)

    def _met(self) -> dict[Place, Tensor]:
        """Lets go together what lies along the same axis of tensors that meet number by number."""
        found: dict[Place, Tensor] = {}
        shape = self.value.shape
        given = [(n, self.values[n]) for n in self.inputs if isinstance(self.values[n], Tensor)]
        for axis in (axis for axis, size in enumerate(shape) if size > 1):
            meeting: list[tuple[Place, Tensor]] = []
            is_known = True
            for node, value in given:
                own = axis - len(shape) + value.ndim
                if own >= 0 and value.shape[own] > 1:
                    parts = [(p, s) for p, s in self.known.get(node, {}).items() if varying(s) == [own]]
                    meeting += [(place, vector(symbols, own)) for place, symbols in parts]
                    is_known = is_known and bool(parts)
            if is_known:
                for place, symbols in meeting:
                    self.book.merge(meeting[0][1], symbols)
                    if place not in found:
                        found[place] = spread(symbols, axis, shape)
        return found

    def _moved(self, node: fx.Node, symbols: Tensor) -> Tensor | None:
        args, named = fx.map_arg(
            (self.node.args, self.node.kwargs),
            lambda other: symbols.contiguous() if other is node else self.values[other],
        )
        try:
            if self.node.op == "call_method":
                after = getattr(args[0], str(self.node.target))(*args[1:], **named)
            else:
                function: Any = self.node.target
                after = function(*args, **named)
        except (RuntimeError, IndexError, TypeError):
            return None
        if not isinstance(after, Tensor) or after.dtype != torch.int64:
            return None
        if not len(varying(after)) == len(varying(symbols)) == 1:
            return None
        return after if after.unique().numel() == symbols.unique().numel() else None

    def _reduced(self, node: fx.Node, symbols: Tensor) -> Tensor | None:
        """Returns what lies along another axis than those along which all numbers become one."""
        place = len(self.node.args) > 1 and self.called not in ("norm", "vector_norm")
        dims: Any = self.node.args[1] if place else self.node.kwargs.get("dim")
        given = (dims,) if type(dims) is int else dims
        if self.called not in REDUCTIONS or not isinstance(given, tuple | list):
            return None
        axes = {axis % symbols.ndim for axis in given}
        if axes & set(varying(symbols)):
            return None
        for axis in sorted(axes, reverse=True):
            symbols = symbols.narrow(axis, 0, 1)
        return symbols.reshape(self.value.shape)
