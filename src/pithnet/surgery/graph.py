"""The operations of a network in order (torch.fx), read from its forward, and a forward made from them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.modes import evaluating
from pithnet.surgery.weights import compressible


class _Tracer(fx.Tracer):
    """Layers are steps of their own, whatever parametrizes their weights."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return bool(compressible(m)) or super().is_leaf_module(m, module_qualified_name)


def traced(model: nn.Module, purpose: str) -> fx.Graph:
    """The graph of the model's forward in eval mode; its nodes name the model's own modules.

    Raises ModelError with the cause where forward cannot be followed: what `purpose` names needs it.
    """
    if compressible(model):
        raise ModelError(f"{purpose} needs a network around the layer; put it into nn.Sequential(layer)")
    try:
        with evaluating(model):
            graph = _Tracer().trace(model)
    except Exception as e:
        cause = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise ModelError(
            f"{purpose} follows the forward of {type(model).__name__}, which cannot be done: {cause[:160]}; "
            "take what depends on the data (if, for, len of a tensor) out of forward"
        ) from None
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise ModelError(f"{purpose} needs a network of one input; {type(model).__name__} has {len(inputs)}")
    return graph


def module_of(node: fx.Node, model: nn.Module) -> nn.Module | None:
    """The module a node calls; None where it calls a function or a tensor's method."""
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def float_nodes(model: nn.Module, graph: fx.Graph, x: Tensor) -> set[fx.Node]:
    """The nodes that give floating-point tensors for this input: not sizes, not indices."""
    found: set[fx.Node] = set()

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor) and value.is_floating_point():
                found.add(n)
            return value

    Watch(model, graph=graph).run(x)
    return found


def rewire_(model: nn.Module, graph: fx.Graph) -> None:
    """Makes a graph over the model's modules its forward, in place; modules, attributes and state stay.

    The model gets a class of its own that derives from the one it had, as torch's parametrizations do.
    """
    graph.lint()
    if isinstance(model, fx.GraphModule):
        model.graph = graph  # a GraphModule copies itself by its graph, not by its class
        model.recompile()
        return
    cls = type(model)
    forward = type(fx.GraphModule(model, graph)).forward
    model.__class__ = type(cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__})
