"""The work of each operation of a network, found by following its forward once."""

from __future__ import annotations

import operator
import random
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.graph.exporting import Exported, call_of, exported
from pithnet.surgery.graph.inputs import tensors, tensors_as, values
from pithnet.surgery.graph.lookup import operation_of, operation_of_module
from pithnet.surgery.graph.multiplications import (
    has_formula,
    layer_by_shapes,
    macs_by_running,
    macs_by_shapes,
)
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.graph.tracing import OF_BUFFERS, WITHIN, cause_of, traced
from pithnet.surgery.weights.holders import compressible


@dataclass
class Work:
    """What all calls of a module took, or one call of a function.

    macs: multiply-accumulates. activations: floating-point numbers written. reads: names of the parameters
    that a function was given; a module has its own.
    """

    kind: Kind
    calls: int = 0
    macs: int = 0
    activations: int = 0
    reads: list[str] = field(default_factory=list)


def work_of(model: nn.Module, example: Any) -> dict[str, Work]:
    """Finds the work of every operation, in order; a module has its own name, a function one of its place.

    Args:
        model: A network in eval mode, of whose tensors the shapes count; it may be changed.
        example: Inputs, as `learn.call` takes them; in-place operations may change them.

    Raises:
        ModelError: Neither torch.fx nor torch.export follows the forward. What the network itself raises,
            where it does not take the example, is passed on.
    """
    try:
        graph = traced(model, "counting costs", example)
    except ModelError as refused:
        try:
            found = exported(model, example)
        except Exception as e:
            raise ModelError(f"{refused} (nor can torch.export: {cause_of(e)})") from None
        return _of_export(model, found)
    return _of_trace(model, graph, example)


class _Counting(fx.Interpreter):
    """Runs a graph without its convolutions and linear layers; macs and outputs: of each node."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.model = model
        self.macs: dict[fx.Node, int] = {}
        self.outputs: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.macs[n], value = self._counted(n)
        self.outputs[n] = numbers_in(value)
        return value

    def _counted(self, n: fx.Node) -> tuple[int, Any]:
        def run() -> Any:
            return super(_Counting, self).run_node(n)

        args, kwargs = self.fetch_args_kwargs_from_env(n)
        operation, given = operation_of(n, self.model), tuple(tensors((args, kwargs)))
        if n.op == "call_module":
            found = None if kwargs else layer_by_shapes(self.model.get_submodule(str(n.target)), args)
            if found is None and operation.multiplies:
                found = macs_by_running(run)
            return found or (0, run())
        if n.op not in ("call_function", "call_method") or not given:
            return 0, run()
        if not has_formula(operation):
            return macs_by_running(run)
        value = run()
        return macs_by_shapes(operation, given, value), value


def _of_trace(model: nn.Module, graph: fx.Graph, example: Any) -> dict[str, Work]:
    counting = _Counting(model, graph)
    counting.run(*values(model, example))
    names = Names(model)
    found: dict[str, Work] = {}
    for node in graph.nodes:
        if node.op not in ("call_module", "call_function", "call_method"):
            continue
        macs, outputs, is_module = counting.macs[node], counting.outputs[node], node.op == "call_module"
        if not (is_module or macs or outputs):
            continue  # sizes and indices
        if node.meta[OF_BUFFERS]:
            continue  # the same for every input
        operation = operation_of(node, model)
        name = str(node.target) if is_module else names.of(node.meta[WITHIN], node)
        work = found.setdefault(name, Work(operation.kind))
        work.calls += 1
        work.macs += macs
        work.activations += 0 if operation.views else outputs
        if not is_module:
            work.reads += [str(n.target) for n in node.all_input_nodes if n.op == "get_attr"]
    return found


def _of_export(model: nn.Module, export: Exported) -> dict[str, Work]:
    """A layer's operators are taken together under its name; what it gives is what the last of them gives."""
    names = Names(model)
    found: dict[str, Work] = {}
    last: dict[str, int] = {}
    for node in export.graph.nodes:
        macs, outputs = _of_operator(node)
        if not (macs or outputs):
            continue
        place, call = call_of(node)
        module = model.get_submodule(place)
        operation = operation_of_module(module)
        layer = operation.kind is not Kind.OTHER or bool(compressible(module))
        operation = operation if layer else operation_of(node, model)
        name = (place or type(model).__name__) if layer else names.of(place, node)
        work = found.setdefault(name, Work(operation.kind))
        if not layer or call not in last:
            work.calls += 1
        outputs = 0 if operation.views else outputs
        work.activations += outputs - (last.get(call, 0) if layer else 0)
        last[call] = outputs
        work.macs += macs
        work.reads += [export.tensors[n.name] for n in node.all_input_nodes if n.name in export.tensors]
    return found


def _of_operator(node: fx.Node) -> tuple[int, int]:
    """Multiply-accumulates and outputs of a node of torch.export's, from the shapes that it wrote down."""
    if node.op != "call_function" or node.target is operator.getitem:
        return 0, 0  # of several tensors that an operator gave, and that were counted there
    operation = operation_of(node, nn.Module())
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: n.meta.get("val"))
    given, value = tuple(tensors((args, kwargs))), node.meta.get("val")
    if not given:
        return 0, numbers_in(value)
    if has_formula(operation):
        return macs_by_shapes(operation, given, value), numbers_in(value)
    args, kwargs = _hollow((args, kwargs))
    target: Any = node.target
    macs, value = macs_by_running(lambda: target(*args, **kwargs))
    return macs, numbers_in(value)


class Names:
    """Names for calls of functions: the module in whose forward they stand, and what they are called."""

    def __init__(self, model: nn.Module) -> None:
        self.taken: Counter[str] = Counter(name for name, _ in model.named_modules())

    def of(self, place: str, node: fx.Node) -> str:
        """Returns the name of the next call, of a function that gives floating-point numbers.

        Args:
            place: The module in whose forward it stands.
            node: What calls it.
        """
        name = f"{place}.{_called(node)}" if place else _called(node)
        self.taken[name] += 1
        return name if self.taken[name] == 1 else f"{name}_{self.taken[name] - 1}"


def _called(node: fx.Node) -> str:
    target: Any = node.args[1] if node.target is getattr else node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.partition("::")[2].strip("_")
    return str(getattr(target, "__name__", target)).strip("_")


def numbers_in(value: Any) -> int:
    """Returns how many floating-point numbers are in the tensors of a value."""
    return sum(tensor.numel() for tensor in tensors(value) if tensor.is_floating_point())


def _hollow(value: Any) -> Any:
    """The value with tensors of the same shapes on torch's meta device."""
    return tensors_as(value, lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta"))


@contextmanager
def apart() -> Iterator[None]:
    """Computes no gradients and gives no warnings within; the caller's random numbers are left alone."""
    state = random.getstate()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(state)
