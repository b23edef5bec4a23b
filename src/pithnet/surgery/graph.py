"""The operations of a network in order (torch.fx), read from its forward, and a forward made from them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.modes import evaluating
from pithnet.surgery.weights import compressible, held_tensors

_DROPOUTS = (
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    torch.dropout,
    torch.alpha_dropout,
    torch.feature_dropout,
    torch.feature_alpha_dropout,
)


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


def calls(graph: fx.Graph) -> Counter[str]:
    """How often each module is called, by name."""
    return Counter(str(node.target) for node in graph.nodes if node.op == "call_module")


def alone(model: nn.Module, graph: fx.Graph) -> set[str]:
    """Names of the modules that are called once and whose tensors nothing else in the network uses.

    What is done to such a module's tensors changes what it gives at that one place.
    """
    tied = {
        path
        for holders in held_tensors(model)
        if sum(len(holder.paths) for holder in holders) > 1
        for holder in holders
        for path in holder.paths
    }
    read = [str(node.target) for node in graph.nodes if node.op == "get_attr"]
    return {
        name
        for name, count in calls(graph).items()
        if count == 1 and name not in tied and not any(tensor.startswith(f"{name}.") for tensor in read)
    }


@torch.no_grad()
def watched(model: nn.Module, graph: fx.Graph, x: Tensor) -> dict[fx.Node, Tensor]:
    """Shape and dtype of the tensor that each node gives for an input, in eval mode: tensors without numbers.

    What gives no tensor, a size say, is left out.
    """
    found: dict[fx.Node, Tensor] = {}

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor):
                found[n] = torch.empty_like(value, device="meta")
            return value

    with evaluating(model):
        Watch(model, graph=graph).run(x)
    return found


def float_nodes(model: nn.Module, graph: fx.Graph, x: Tensor) -> set[fx.Node]:
    """The nodes that give floating-point tensors for this input: not sizes, not indices."""
    return {node for node, value in watched(model, graph, x).items() if value.is_floating_point()}


def check_trains(graph: fx.Graph) -> None:
    """Raises ModelError where a graph, traced in eval mode, has a dropout that training could not turn on."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target in _DROPOUTS and _is_off(node):
            raise ModelError(
                f"{node.name} would be off in training too, since forward is kept as it is in eval mode; "
                "use nn.Dropout, a module, in place of the function"
            )


def _is_off(dropout: fx.Node) -> bool:
    """Whether it would drop something, but was told that this is no training."""
    given: dict[Any, Any] = dict(enumerate(dropout.args)) | dropout.kwargs
    probability, training = (
        next((given[key] for key in keys if key in given), None)
        for keys in (("p", 1), ("training", "train", 2))
    )
    return training is False and probability != 0


def rewire_(model: nn.Module, graph: fx.Graph) -> None:
    """Makes a graph over the model's modules its forward, in place; modules, attributes and state stay.

    The model gets a class of its own that derives from the one it had, as torch's parametrizations do. The
    graph should be one that `check_trains` lets pass.
    """
    graph.lint()
    if isinstance(model, fx.GraphModule):
        model.graph = graph  # a GraphModule copies itself by its graph, not by its class
        model.recompile()
        return
    cls = type(model)
    forward = type(fx.GraphModule(model, graph)).forward
    model.__class__ = type(cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__})
