"""Numbers of channels that are built into a forward, written anew for a network that has fewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from pithnet.surgery.channels.symbols import Argument
from pithnet.surgery.graph.tracing import rewire_
from pithnet.surgery.graph.train_mode import traced_to_train

_KEPT = "_rewritten_sizes"  # where a network keeps what was rewritten, so that it can be saved
Sizes = tuple[Mapping[Argument, int], Mapping[str, Any]]


def rewrite_(model: nn.Module, sizes: Sizes) -> None:
    """Gives a network a forward with other numbers of channels in its calls, in place.

    Args:
        model: The network whose forward has them built in.
        sizes: The numbers by the arguments that they are, and the example that forward is followed with.

    Raises:
        ModelError: The forward does something else in train mode, which would be lost.
    """
    numbers, given = sizes
    graph = traced_to_train(model, "removing channels", given)
    nodes = {node.name: node for node in graph.nodes}
    for argument, number in numbers.items():
        node, (first, *rest) = nodes[argument.node], argument.path
        if isinstance(first, str):
            node.kwargs = {**node.kwargs, first: _with(node.kwargs[first], rest, number)}
        else:
            node.args = _with(node.args, [first, *rest], number)
    setattr(model, _KEPT, sizes)
    rewire_(model, graph, _take_apart)


def _with(value: Any, path: list[Any], number: int) -> Any:
    """Returns nested tuples and slices with one number in them replaced."""
    if not path:
        return number
    place = path[0]
    if isinstance(value, slice):
        bounds = {"start": value.start, "stop": value.stop} | {place: number}
        return slice(bounds["start"], bounds["stop"], value.step)
    return (*value[:place], _with(value[place], path[1:], number), *value[place + 1 :])


def _take_apart(state: dict[str, Any]) -> tuple[Callable[[nn.Module, Any], None], Any]:
    return rewrite_, state.pop(_KEPT)
