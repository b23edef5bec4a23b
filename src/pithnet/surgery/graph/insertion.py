"""Where activations are quantized: after everything that makes new numbers, but before no ReLU."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.graph.activation_quantizers import ActivationQuantizer, LearnedClip
from pithnet.surgery.graph.tracing import WHOLE, module_of, rewire_, traced, unwire_, watched
from pithnet.surgery.graph.train_mode import traced_to_train

HOME = "activation_quantizers"
_PURPOSE = "quantizing activations"
# What stays as it was in eval mode; what only moves or picks numbers; what clips at the lower end of a range.
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_MOVES = (nn.Flatten, nn.Unflatten, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.ZeroPad2d, nn.PixelShuffle)
_MOVING = (
    operator.getitem,
    torch.flatten,
    torch.reshape,
    torch.permute,
    torch.transpose,
    torch.squeeze,
    torch.unsqueeze,
    F.pad,
    torch.max_pool1d,
    torch.max_pool2d,
    F.max_pool1d,
    F.max_pool2d,
)
_MOVING_METHODS = ("flatten", "view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze")
_RELU = (nn.ReLU, nn.ReLU6)
_RELUS = (F.relu, F.relu6, torch.relu, torch.relu_)
_RELU_METHODS = ("relu", "relu_")


def activation_quantizers(model: nn.Module) -> dict[str, ActivationQuantizer | LearnedClip]:
    """The quantizers of the model's activations by what they follow; {} where it has none."""
    return {
        name.rpartition(".")[2]: module
        for name, module in model.named_modules()
        if isinstance(module, ActivationQuantizer | LearnedClip)
    }


def insert_activation_quantizers_(
    model: nn.Module, example: Tensor, make: Callable[[str], ActivationQuantizer]
) -> dict[str, ActivationQuantizer]:
    """Puts quantizers into the network's forward, in place, and returns them by what they follow.

    After the input and every operation that makes new numbers, additions among them. Not before a ReLU, which
    integer arithmetic clips for nothing, and not after a last linear layer, whose sums are the answer. What
    only moves or picks numbers (pooling of maxima, padding, reshaping) is followed by the quantizer of what
    it moves. A module without weights that looks at `training` (drop path, say) stays one step and goes on to
    do so. example: an input (B, ...).

    Raises ModelError where the forward cannot be followed, where it does something else in train mode (see
    `traced_to_train`), and for a model that has such quantizers already.
    """
    if activation_quantizers(model):
        raise ModelError("the activations are quantized already; start from the model before that")
    graph = traced_to_train(model, _PURPOSE)
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
    model: nn.Module, quantizers: Mapping[str, ActivationQuantizer | LearnedClip]
) -> None:
    """Puts quantizers back, in place, after what they followed, in a network of the same forward.

    Raises ModelError where the forward cannot be followed, or has not what one of them followed.
    """
    graph = traced(model, _PURPOSE)
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
            if _moves(node, model):
                _follow(graph, node, sites)
    setattr(model, HOME, nn.ModuleDict(dict(quantizers)))
    rewire_(model, graph, _take_apart)


def _take_apart(state: dict[str, Any]) -> tuple[Callable[[nn.Module, Any], None], Any]:
    return reinsert_activation_quantizers_, dict(state["_modules"].pop(HOME).items())


def _passes(node: fx.Node, model: nn.Module) -> bool:
    """Whether a node makes no new numbers."""
    return _is(node, model, _NOTHING, (), ()) or _moves(node, model)


def _follow(graph: fx.Graph, node: fx.Node, sites: dict[fx.Node, str]) -> None:
    """Puts a call of the node's quantizer after it, before everything that uses it."""
    with graph.inserting_after(node):
        after = graph.create_node("call_module", f"{HOME}.{sites[node]}", (node,))
    node.replace_all_uses_with(after, delete_user_cb=lambda user: user is not after)
    sites[after] = sites[node]


def _needs_one(node: fx.Node, model: nn.Module) -> bool:
    if node.op in ("output", "get_attr"):
        return False
    ends = _users(node, model)
    if ends and all(is_relu(user, model) for user in ends):
        return False
    answers = all(user.op == "output" for user in ends)
    return not (answers and isinstance(module_of(node, model), nn.Linear))


def is_relu(node: fx.Node, model: nn.Module) -> bool:
    """Whether a node of the model's graph clips at zero."""
    return _is(node, model, _RELU, _RELUS, _RELU_METHODS)


def _users(node: fx.Node, model: nn.Module) -> list[fx.Node]:
    """Who reads the node's numbers, beyond modules that do nothing and classes that outputs are put into."""
    found = []
    for user in node.users:
        through = isinstance(user.target, type) or _is(user, model, _NOTHING, (), ())
        found += _users(user, model) if through else [user]
    return found


def _moves(node: fx.Node, model: nn.Module) -> bool:
    if node.target is F.pad and not _pads_with_zeros(node):
        return False  # another number may be none of the levels
    return _is(node, model, _MOVES, _MOVING, _MOVING_METHODS)


def _pads_with_zeros(node: fx.Node) -> bool:
    mode, value = dict(enumerate(node.args)).get(2, "constant"), dict(enumerate(node.args)).get(3)
    return node.kwargs.get("mode", mode) == "constant" and node.kwargs.get("value", value) in (None, 0)


def _is(
    node: fx.Node,
    model: nn.Module,
    kinds: tuple[type[nn.Module], ...],
    functions: tuple[object, ...],
    methods: tuple[str, ...],
) -> bool:
    """Whether a node calls a module of these kinds, one of these functions, or a method of these names."""
    if node.op == "call_module":
        return isinstance(module_of(node, model), kinds)
    return node.target in (
        functions if node.op == "call_function" else methods if node.op == "call_method" else ()
    )
