"""Where activations are quantized: after everything that makes new numbers, but before no ReLU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.graph.activation_quantizers import ActivationQuantizer, LearnedClip
from pithnet.surgery.graph.given_arguments import GivenArguments, example_of, home_of
from pithnet.surgery.graph.inputs import REQUIRED
from pithnet.surgery.graph.lookup import operation_of
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.graph.tracing import OF_BUFFERS, WHOLE, module_of, rewire_, traced, unwire_, watched
from pithnet.surgery.graph.train_mode import drops_nothing, traced_to_train

HOME = "activation_quantizers"
_PURPOSE = "quantizing activations"


def activation_quantizers(model: nn.Module) -> dict[str, ActivationQuantizer | LearnedClip]:
    """Finds the quantizers of the model's activations by what they follow; {} where it has none."""
    return {
        name.rpartition(".")[2]: module
        for name, module in model.named_modules()
        if isinstance(module, ActivationQuantizer | LearnedClip)
    }


def insert_activation_quantizers_(
    model: nn.Module, example: Any, make: Callable[[str], ActivationQuantizer]
) -> dict[str, ActivationQuantizer]:
    """Puts quantizers into the network's forward, in place, and returns them by what they follow.

    After the input and every operation that makes new numbers, additions among them. Not before a ReLU, which
    integer arithmetic clips for nothing, and not after a last linear layer, whose sums are the answer. What
    only moves or picks numbers (pooling of maxima, padding, reshaping) is followed by the quantizer of what
    it moves. A module without weights that looks at `training` (drop path, say) stays one step and goes on to
    do so.

    Args:
        model: The network, changed in place.
        example: Inputs (B, ...), as `learn.call` takes them. The forward takes these arguments from then on.
        make: Makes the quantizer that follows the operation of that name.

    Returns:
        The quantizers, by the name of what they follow.

    Raises:
        ModelError: The forward cannot be followed, does something else in train mode (see `traced_to_train`)
            or has nothing to quantize, or the activations are quantized already.
    """
    if activation_quantizers(model):
        raise ModelError("the activations are quantized already; start from the model before that")
    graph = traced_to_train(model, _PURPOSE, example)
    seen = watched(model, graph, example)
    made = {
        node.name: make(node.name)
        for node in graph.nodes
        if node in seen.floats - seen.unchanged and not _passes(node, model) and _needs_one(node, model)
    }
    if not made:
        raise ModelError(f"{type(model).__name__} has nothing to quantize: no operation on activations")
    _insert_(model, graph, made)
    return made


def reinsert_activation_quantizers_(
    model: nn.Module, quantizers: Mapping[str, ActivationQuantizer | LearnedClip], given: Any = REQUIRED
) -> None:
    """Puts quantizers back, in place, after what they followed, in a network of the same forward.

    Args:
        model: The network, changed in place.
        quantizers: What follows each operation, by its name.
        given: The arguments that forward was followed with, where these are not all that have no default.

    Raises:
        ModelError: The forward cannot be followed, or has not what one of the quantizers followed.
    """
    graph = traced(model, _PURPOSE, given)
    for name in sorted(quantizers.keys() - {node.name for node in graph.nodes}):
        raise ModelError(
            f"{type(model).__name__} has no operation {name}, after which activations were quantized; build "
            "the network as it was then"
        )
    _insert_(model, graph, quantizers)


def remove_activation_quantizers_(model: nn.Module) -> None:
    """Gives the network the forward again that it had before the quantizers came, in place."""
    unwire_(model)
    if HOME in model._modules:
        delattr(model, HOME)


def _insert_(
    model: nn.Module, graph: fx.Graph, quantizers: Mapping[str, ActivationQuantizer | LearnedClip]
) -> None:
    sites: dict[fx.Node, str] = {}  # which quantizer a node's numbers have been through
    for node in list(graph.nodes):
        source = next((sites[p] for p in node.args[:1] if isinstance(p, fx.Node) and p in sites), None)
        if node.name in quantizers:
            sites[node] = node.name
            _follow(graph, node, sites)
        elif source is not None and (_passes(node, model) or node.meta.get(WHOLE)):
            sites[node] = source
            if _moves(node, model) and not operation_of(node, model).several:
                _follow(graph, node, sites)
    setattr(model, HOME, home_of(model, graph, quantizers))
    rewire_(model, graph, _take_apart)


def _take_apart(state: dict[str, Any]) -> tuple[Callable[[nn.Module, Any], None], Any]:
    home = state["_modules"].pop(HOME)
    quantizers = dict(home.items())
    if isinstance(home, GivenArguments):
        return _put_back_, (quantizers, home.given)
    return reinsert_activation_quantizers_, quantizers


def _put_back_(model: nn.Module, parts: tuple[Mapping[str, ActivationQuantizer | LearnedClip], Any]) -> None:
    quantizers, given = parts
    reinsert_activation_quantizers_(model, quantizers, example_of(given))


def _passes(node: fx.Node, model: nn.Module) -> bool:
    """Whether a node makes no new numbers."""
    return _does_nothing(node, model) or _moves(node, model)


def _does_nothing(node: fx.Node, model: nn.Module) -> bool:
    operation = operation_of(node, model)
    if operation.kind is Kind.DROPOUT and node.op == "call_function":
        return drops_nothing(node)
    return operation.does_nothing


def _follow(graph: fx.Graph, node: fx.Node, sites: dict[fx.Node, str]) -> None:
    """Puts a call of the node's quantizer after it, before everything that uses it."""
    with graph.inserting_after(node):
        after = graph.create_node("call_module", f"{HOME}.{sites[node]}", (node,))
    node.replace_all_uses_with(after, delete_user_cb=lambda user: user is not after)
    sites[after] = sites[node]


def _needs_one(node: fx.Node, model: nn.Module) -> bool:
    if node.op in ("output", "get_attr") or node.meta.get(OF_BUFFERS):
        return False
    ends = _users(node, model)
    if ends and all(operation_of(user, model).clips_at_zero for user in ends):
        return False
    answers = all(user.op == "output" for user in ends)
    return not (answers and node.op == "call_module" and operation_of(node, model).kind is Kind.LINEAR)


def _users(node: fx.Node, model: nn.Module) -> list[fx.Node]:
    """Who reads the node's numbers, beyond modules that do nothing and classes that outputs are put into."""
    found = []
    for user in node.users:
        through = isinstance(user.target, type) or _does_nothing(user, model)
        found += _users(user, model) if through else [user]
    return found


def _moves(node: fx.Node, model: nn.Module) -> bool:
    operation = operation_of(node, model)
    return operation.moves and not (operation.kind is Kind.PAD and _pads_with_others(node, model))


def _pads_with_others(node: fx.Node, model: nn.Module) -> bool:
    """Whether what a node pads with is a number other than zero, which may be none of the levels."""
    module = module_of(node, model)
    given = (*node.args[2:], *(value for name, value in node.kwargs.items() if name != "pad"))
    filling = given if module is None else (getattr(module, "value", 0),)
    return any(isinstance(value, int | float) and value != 0 for value in filling)
