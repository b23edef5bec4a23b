"""Whether a channel that a layer makes zero is still zero where it is used."""

from __future__ import annotations

from torch import fx

from pithnet.surgery.channels.functional import Called
from pithnet.surgery.channels.step import Step
from pithnet.surgery.graph.lookup import operation_of
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.graph.tracing import module_of

_MAKE = (Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.LINEAR, Kind.EMBEDDING)
_KEEP = (
    Kind.RELU, Kind.LEAKY_RELU, Kind.RESHAPE, Kind.PERMUTE, Kind.SPLIT, Kind.SLICE, Kind.COPY, Kind.IDENTITY,
    Kind.DROPOUT, Kind.CAST, Kind.EXPAND, Kind.MAX_POOL, Kind.AVERAGE_POOL,
)  # fmt: skip
_PRODUCTS = (Kind.MULTIPLY, Kind.DIVIDE)


def stays_zero(step: Step, node: fx.Node) -> bool:
    """Tells whether channels are zero at a node where the layers that make them give zero.

    Args:
        step: A step of the network.
        node: A node before it.
    """
    kind = operation_of(node, step.model).kind
    if kind in _MAKE:
        return True
    if kind is Kind.BATCH_NORM:
        return _has_scale(step, node)
    marked = [given for given in node.all_input_nodes if given in step.marks]
    if kind in _PRODUCTS:
        first = marked[:1] if kind is Kind.DIVIDE else marked
        return any(stays_zero(step, given) for given in first)
    if kind in (Kind.ADD, Kind.SUBTRACT):
        whole = len(marked) == len([n for n in node.args if isinstance(n, fx.Node)]) == len(node.args)
        return whole and all(stays_zero(step, given) for given in marked)
    return kind in _KEEP and bool(marked) and stays_zero(step, marked[0])


def _has_scale(step: Step, node: fx.Node) -> bool:
    """Tells whether a BN has a weight and so gives zero where that is; one without gives -mean/std."""
    module = module_of(node, step.model)
    if module is not None:
        return getattr(module, "weight", None) is not None
    return Called(node, "batch_norm", step.values).raw("weight") is not None
