"""What a network's ReLUs make zero: work that a sparse kernel need not do."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.graph.inputs import REQUIRED, values
from pithnet.surgery.graph.lookup import operation_of
from pithnet.surgery.graph.tracing import module_of, traced
from pithnet.surgery.modes import evaluating
from pithnet.surgery.weights.holders import compressible


@torch.no_grad()
def relu_zeros(model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
    """Finds the share of exact zeros after each ReLU, in eval mode.

    Args:
        model: The network; it is left alone.
        batches: Inputs (B, ...), as `learn.call` takes them.

    Returns:
        The shares, from 0 to 1, by the name of the layer whose sums the ReLU clips. A ReLU after an addition
        is named after the first branch's last layer.

    Raises:
        ModelError: The forward cannot be followed or has no ReLU, or there are no inputs.
    """
    left = iter(batches)
    first = next(left, REQUIRED)
    graph = traced(model, "counting zeros of activations", first)
    relus = [node for node in graph.nodes if operation_of(node, model).clips_at_zero]
    names = {node: _layer_before(node, model) for node in relus}
    zeros, sizes = dict.fromkeys(names.values(), 0), dict.fromkeys(names.values(), 0)

    class Count(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in names:
                zeros[names[n]] += int((value == 0).sum())
                sizes[names[n]] += value.numel()
            return value

    counter = Count(model, graph=graph)
    with evaluating(model):
        for x in chain(() if first is REQUIRED else (first,), left):
            counter.run(*values(model, x))
    if not names or not all(sizes.values()):
        missing = "no ReLU" if not names else "no inputs"
        raise ModelError(f"there are no activations of {type(model).__name__} to count zeros of: {missing}")
    return {name: zeros[name] / sizes[name] for name in zeros}


def _layer_before(node: fx.Node, model: nn.Module) -> str:
    """The nearest layer with a weight on the way to a node, by name; the node itself where there is none."""
    before: Any = node
    while isinstance(before, fx.Node) and before.args:
        before = before.args[0]
        if isinstance(before, fx.Node):
            module = module_of(before, model)
            if module is not None and compressible(module):
                return str(before.target)
    return node.name
