"""Numbers of channels that are built into a forward, written anew for a network that has fewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.channels.symbols import Argument
from pithnet.surgery.graph.tracing import rewire_, unwire_
from pithnet.surgery.graph.train_mode import traced_to_train

_KEPT = "_rewritten_sizes"  # where a network keeps what was rewritten, so that it can be saved
Sizes = tuple[Mapping[Argument, int], Mapping[str, Any]]


def rewrite_(model: nn.Module, sizes: Sizes) -> None:
    """Gives a network a forward with other numbers of channels in its calls, in place.

    Args:
        model: The network whose forward has them built in.
        sizes: The numbers by the arguments that they are, and the example that forward is followed with.

    Raises:
        ModelError: The forward does something else in train mode, which would be lost, or has no such number.
    """
    rewriting(model, sizes)()


def rewriting(model: nn.Module, sizes: Sizes) -> Callable[[], None]:
    """Prepares another forward for a network, which is left alone, and returns what gives it to the network.

    A forward that was rewritten before keeps its other numbers.

    Args:
        model: The network whose forward has them built in.
        sizes: The numbers and the example, as `rewrite_` takes them.

    Raises:
        ModelError: As `rewrite_` does.
    """
    numbers, given = sizes
    if not numbers:
        return lambda: None
    graph = traced_to_train(model, "removing channels", given)
    nodes = {node.name: node for node in graph.nodes}
    for argument, number in numbers.items():
        _write(nodes.get(argument.node), argument, number)
    earlier, _ = rewritten_sizes(model)

    def put_on() -> None:
        # One class is enough: it is saved with all numbers, and they are put into the forward it began with.
        if earlier:
            unwire_(model)
        setattr(model, _KEPT, ({**earlier, **numbers}, given))
        rewire_(model, graph, _take_apart)

    return put_on


def rewritten_sizes(model: nn.Module) -> Sizes:
    """Returns what `rewrite_` gave a network, nothing where it has its own forward.

    Args:
        model: The network.
    """
    found: Sizes = vars(model).get(_KEPT, ({}, {}))
    return found


def _write(node: fx.Node | None, argument: Argument, number: int) -> None:
    first, *rest = argument.path
    try:
        if node is None:
            raise LookupError
        if isinstance(first, str):
            node.kwargs = {**node.kwargs, first: _with(node.kwargs[first], rest, number)}
        else:
            node.args = _with(node.args, [first, *rest], number)
    except (LookupError, TypeError):
        where = ".".join(map(str, argument.path))
        raise ModelError(
            f"the forward has no number at {argument.node}, argument {where}, which a network without some "
            "channels needs another number for; build the model by the code it was made by"
        ) from None


def _with(value: Any, path: list[Any], number: int) -> Any:
    """Returns nested tuples and slices with one number in them replaced."""
    if not path:
        if not isinstance(value, int | fx.Node | None):
            raise TypeError
        return number
    place = path[0]
    if isinstance(value, slice):
        if place not in ("start", "stop"):
            raise LookupError
        bounds = {"start": value.start, "stop": value.stop} | {place: number}
        return slice(bounds["start"], bounds["stop"], value.step)
    if not isinstance(value, tuple | list) or not isinstance(place, int) or not 0 <= place < len(value):
        raise LookupError
    return (*value[:place], _with(value[place], path[1:], number), *value[place + 1 :])


def _take_apart(state: dict[str, Any]) -> tuple[Callable[[nn.Module, Any], None], Any]:
    return rewrite_, state.pop(_KEPT)
