"""The operations of a network in order (torch.fx), read from its forward, and a forward made from them."""

from __future__ import annotations

import copy
import inspect
import textwrap
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.graph.built_in import Derived
from pithnet.surgery.graph.inputs import (
    REQUIRED,
    bound,
    flat,
    is_constant,
    replaced,
    require_constant,
    values,
)
from pithnet.surgery.graph.lookup import operation_of_module
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.graph.reads import watching_training
from pithnet.surgery.modes import evaluating
from pithnet.surgery.pickling import TakeApart, is_made, make_picklable
from pithnet.surgery.weights.holders import compressible, held_tensors

# What a node's `meta` says: whether it calls a module that is kept whole, whose forward it stands in, and
# whether it computes with buffers alone, so that it gives the same for every input.
WHOLE, WITHIN, OF_BUFFERS = "whole", "within", "of buffers"


class Tracer(fx.Tracer):
    """Follows a forward; layers are steps of their own, whatever parametrizes their weights.

    given: the arguments that forward is followed with, see `inputs.bound`. whole: names of modules that are
    steps too. readers: names of the followed modules whose forward looked at `training`. within: names of the
    modules whose forward is being followed, the innermost last. buffers: whether what is done to buffers
    alone is followed too; else it is built into the graph. built_in: names of the network's tensors from
    which something is computed that is built into the graph, a tensor or a number.
    """

    def __init__(
        self, given: inspect.BoundArguments, whole: Iterable[str] = (), buffers: bool = False
    ) -> None:
        super().__init__()
        self.proxy_buffer_attributes = buffers
        self.given = given
        self.whole = set(whole)
        self.readers: set[str] = set()
        self.within = [""]
        self.built_in: set[str] = set()
        self.derived: Derived | None = None
        self.buffers: set[str] = set()

    def follow(self, model: nn.Module) -> fx.Graph:
        """Follows the model's forward, in the mode that the model is in, and returns the graph."""
        self.derived = Derived(model)
        self.buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
        with watching_training(lambda: self.readers.add(self.within[-1])), self.derived, _buffers_kept(model):
            graph = self.trace(model)
        self.built_in |= self.derived.read
        return graph

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Makes an input of the graph for every argument that is given; the others keep their defaults."""
        inputs = dict(flat(self.given))
        alone = len(inputs) == 1 and len(self.given.signature.parameters) > 1
        given: dict[str, Any] = {}
        for place, (name, value) in enumerate(inputs.items()):
            if is_constant(value):
                rest = list(inputs.values())[place:]
                default = (value,) if all(map(is_constant, rest)) else ()
                told = self.create_proxy("placeholder", name, default, {})
                self.create_proxy("call_function", require_constant, (name, told, value), {})
                given[name] = value
            else:
                # States of quantized activations name it so.
                given[name] = self.create_proxy("placeholder", name, (), {}, name="x" if alone else None)
        arguments = replaced(self.given, given)
        # No function with annotations, which torch.fx would write into the graph.
        return lambda root: root_fn(root, *arguments.args, **arguments.kwargs), [self.root]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tells whether a module is a step of its own: a layer, a module of torch's, or one kept whole."""
        return (
            module_qualified_name in self.whole
            or bool(compressible(m))
            or operation_of_module(m).kind is Kind.ROUNDING
            or super().is_leaf_module(m, module_qualified_name)
        )

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Records a call of a module that is a step, or follows its forward."""
        name = self.path_of_module(m)
        if self.is_leaf_module(m, name):
            return super().call_module(m, forward, args, kwargs)
        self.within.append(name)
        result = super().call_module(m, forward, args, kwargs)
        self.within.pop()  # not after an error: then it tells where that was
        return result

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None
    ) -> fx.Node:
        """Makes a node that says of itself what `WITHIN`, `WHOLE` and `OF_BUFFERS` stand for.

        What computes with buffers alone has names of its own kind, so that all others are called the same
        whether it is followed or built in.
        """
        of_buffers = kind in ("call_function", "call_method") and self._is_of_buffers(args, kwargs)
        if of_buffers:
            name = f"of_buffers_{name or getattr(target, '__name__', target)}"
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        node.meta[WITHIN] = self.within[-1]
        node.meta[WHOLE] = node.op == "call_module" and node.target in self.whole
        node.meta[OF_BUFFERS] = of_buffers
        return node

    def _is_of_buffers(self, *args: Any) -> bool:
        given: list[fx.Node] = []
        fx.map_arg(args, given.append)
        return bool(given) and all(
            node.meta[OF_BUFFERS] or (node.op == "get_attr" and node.target in self.buffers) for node in given
        )

    def create_arg(self, a: Any) -> Any:
        """Keeps a dataclass that is a dict too, as outputs of transformers are; fx would keep a dict."""
        source = self.derived.source(a) if isinstance(a, Tensor) and self.derived is not None else None
        if source is not None:
            self.built_in.add(source)
            a = a.detach()  # the model keeps it, and has to be copied
        if isinstance(a, dict) and is_dataclass(a) and not isinstance(a, type):
            parts = {f.name: self.create_arg(getattr(a, f.name)) for f in fields(a)}
            return self.create_node("call_function", type(a), (), parts)
        return super().create_arg(a)


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Refuses a forward that gives a module what is followed for a buffer, which is put back."""
    before = [(module, dict(module._buffers)) for module in model.modules()]
    try:
        yield
    finally:
        found = [module for module, _ in before for b in module._buffers.values() if isinstance(b, fx.Proxy)]
        for module, buffers in before if found else ():
            module._buffers.update(buffers)
    if found:
        raise ModelError("forward gives a buffer another value")


def traced(model: nn.Module, purpose: str, example: Any = REQUIRED) -> fx.Graph:
    """Follows the model's forward in eval mode; the nodes of the graph name the model's own modules.

    A module without weights whose forward looks at `training` is one step, whose forward is not followed:
    it goes on to do in train mode what it does there.

    Args:
        model: The network; it is left alone.
        purpose: What needs the graph, for messages.
        example: Inputs, as `learn.call` takes them, which say what the forward is called with; their values
            are not looked at, but for flags and numbers, which are built into the graph. Without one it is
            every argument that has no default. Arguments that are not given keep their defaults.

    Raises:
        ModelError: The forward cannot be followed, for the cause that is said, or does not take the example.
    """
    return followed(model, purpose, example).graph


def followed(model: nn.Module, purpose: str, example: Any = REQUIRED) -> Tracer:
    """Follows as `traced` does, and returns the tracer that holds the graph.

    Its readers are modules that look at `training` and could not be kept whole.

    Raises:
        ModelError: The forward cannot be followed or does not take the example.
    """
    if compressible(model):
        raise ModelError(f"{purpose} needs a network around the layer; put it into nn.Sequential(layer)")
    given = bound(model, example)
    try:
        return _followed(model, given, buffers=True)
    except Exception:  # it decides by a buffer, or counts by its shape
        pass
    try:
        return _followed(model, given, buffers=False)
    except Exception as e:
        raise ModelError(
            f"{purpose} follows the forward of {type(model).__name__}, which cannot be done"
            f"{_line_of(e)}: {cause_of(e)}; "
            "take what depends on the data (if, for, len of a tensor) out of forward"
        ) from None


def _followed(model: nn.Module, given: inspect.BoundArguments, buffers: bool) -> Tracer:
    tracer = Tracer(given, buffers=buffers)
    with evaluating(model):
        tracer.follow(model)
        while more := {name for name in tracer.readers if name and not _has_weights(model, name)}:
            tracer = Tracer(given, tracer.whole | more, buffers)
            tracer.follow(model)
    return tracer


def cause_of(error: Exception) -> str:
    """Returns the first line of an error's message, 160 characters in whole words, or its class's name."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return textwrap.shorten(first, 160, placeholder=" ...")


def _line_of(error: Exception) -> str:
    """Returns the last line of the network's own code that an error came through, "" without one."""
    homes = str(Path(torch.__file__).parent), str(Path(__file__).parents[2])
    lines = [line for line in traceback.extract_tb(error.__traceback__) if line.line]
    own = [line for line in lines if not line.filename.startswith(homes)]
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno} ({own[-1].line})" if own else ""


def _has_weights(model: nn.Module, name: str) -> bool:
    return any(compressible(part) for part in model.get_submodule(name).modules())


def module_of(node: fx.Node, model: nn.Module) -> nn.Module | None:
    """Returns the module a node calls; None where it calls a function or a tensor's method."""
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def calls(graph: fx.Graph) -> Counter[str]:
    """Counts how often each module is called, by name."""
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


@dataclass(frozen=True)
class Seen:
    """What an input shows of a graph's nodes, in eval mode.

    floats: those that give floating-point tensors, not sizes or indices. unchanged: calls of modules `whole`
    that give back the very tensor they were given.
    """

    floats: set[fx.Node]
    unchanged: set[fx.Node]


@torch.no_grad()
def watched(model: nn.Module, graph: fx.Graph, example: Any) -> Seen:
    """Runs an example, as `learn.call` takes inputs, through the graph of a model in eval mode."""
    seen = Seen(set(), set())

    class Watch(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            args, _ = self.fetch_args_kwargs_from_env(n)
            version = args[0]._version if args and isinstance(args[0], Tensor) else None
            value = super().run_node(n)
            if isinstance(value, Tensor) and value.is_floating_point():
                seen.floats.add(n)
                if n.meta.get(WHOLE) and value is args[0] and value._version == version:
                    seen.unchanged.add(n)
            return value

    with evaluating(model):
        Watch(model, graph=graph).run(*values(model, example))
    return seen


def rewire_(model: nn.Module, graph: fx.Graph, take_apart: TakeApart) -> None:
    """Makes a graph over the model's modules its forward, in place; modules, attributes and state stay.

    The model gets a class of its own that derives from the one it had, as torch's parametrizations do. The
    graph should be one that `traced_to_train` gives. take_apart: as `make_picklable`'s.
    """
    graph.lint()
    if isinstance(model, fx.GraphModule):
        model.graph = graph  # a GraphModule copies and saves itself by its graph, not by its class
        model.recompile()
        return
    cls = type(model)
    own: dict[str, Any] = {
        "forward": type(fx.GraphModule(model, graph)).forward,
        "__module__": cls.__module__,
    }
    if not hasattr(cls, "__deepcopy__"):
        own["__deepcopy__"] = _deepcopy  # what is saved is put together anew, and this need not be
    model.__class__ = type(cls.__name__, (cls,), own)
    make_picklable(type(model), take_apart)


def unwire_(model: nn.Module) -> None:
    """Gives a model the forward again that it had before `rewire_`, in place."""
    cls = type(model)
    if is_made(cls) and "forward" in vars(cls):
        model.__class__ = cls.__bases__[0]


def _deepcopy(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    replica = model.__new__(type(model))
    memo[id(model)] = replica
    vars(replica).update(copy.deepcopy(vars(model), memo))
    return replica
