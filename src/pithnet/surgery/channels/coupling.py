"""Which channels of a network go together: a symbol for each channel is followed through its forward.

Every kind of operation has a function that says where the symbols go (`transfer`). An operation without one
is a barrier: the channels that reach it stay, and the reason is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.channels.constants import Constants, is_held, parametrized_key
from pithnet.surgery.channels.formulas import extents
from pithnet.surgery.channels.groups import Channels, grouped
from pithnet.surgery.channels.sizes import formula_of, is_shape
from pithnet.surgery.channels.slicing import foreign, unsaved
from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, Book, Place, spread, varying
from pithnet.surgery.channels.transfer import TRANSFERS
from pithnet.surgery.graph.counting import Names, numbers_in
from pithnet.surgery.graph.inputs import given_to, tensors, tensors_as, values
from pithnet.surgery.graph.lookup import operation_of
from pithnet.surgery.graph.operation import Kind
from pithnet.surgery.graph.tracing import OF_BUFFERS, WITHIN, cause_of, followed, module_of
from pithnet.surgery.modes import evaluating
from pithnet.surgery.weights.holders import held_tensors
from pithnet.surgery.weights.unsupported import check_usable
from pithnet.surgery.wrappers import unwrapped

_LAYERS = (Kind.CONVOLUTION, Kind.TRANSPOSED_CONVOLUTION, Kind.LINEAR, Kind.EMBEDDING)
_REWRITTEN = (Kind.RESHAPE, Kind.EXPAND, Kind.SPLIT, Kind.SLICE, Kind.RESIZE)


def find_channels(model: nn.Module, example: Any) -> Channels:
    """Finds out which channels of a network go together, and which cannot go.

    The forward is followed by torch.fx and carried out once, in eval mode; on a copy of the network where
    that could leave a trace in it.

    Args:
        model: A network, which is left alone.
        example: Inputs: a tensor (B, ...) for model(x), a tuple for model(*x), a dict for model(**x).

    Returns:
        The groups of channels, with every place where a channel has numbers.

    Raises:
        ModelError: The forward cannot be followed, or does not take the example; a lazy module has no weights
            yet, or a module cannot be copied.
    """
    model = unwrapped(model)
    check_usable(model)
    tracer = followed(model, "removing channels", example)
    graph = tracer.graph
    carrying = model if _changes_nothing(model, graph) else copy.deepcopy(model)
    follow = _Follow(carrying, graph)
    given = values(carrying, tensors_as(example, lambda t: t.detach().clone()))
    with torch.no_grad(), evaluating(carrying):
        follow.run(*given)
    places = follow.book.places
    for place, why in (foreign(model, places) | unsaved(model, places)).items():
        follow.book.freeze(follow.book.places[place], why)
    for name in sorted(tracer.built_in)[:1]:
        _keep_written(follow.book, name)
    return grouped(follow.book, given_to(graph))


def _keep_written(book: Book, name: str) -> None:
    """Keeps what numbers in the code count, where another forward would have a tensor's values built in."""
    for argument, written in book.written.items():
        for size in (*extents(written.found), *extents(written.needed)):
            book.freeze(
                size.symbols,
                f"{argument.node} counts it, and a forward written anew would have {name} built in",
            )


def _changes_nothing(model: nn.Module, graph: fx.Graph) -> bool:
    """Tells whether a graph calls modules of torch's alone, which in eval mode leave no trace."""
    return all(
        node.op != "get_attr" and (module is None or _is_plain(module))
        for node in graph.nodes
        for module in (module_of(node, model),)
    )


def _is_plain(module: nn.Module) -> bool:
    has_hooks = module._forward_hooks or module._forward_pre_hooks
    return type(module).__module__.startswith("torch.nn.modules.") and not has_hooks


def _sources(node: Any) -> Iterator[fx.Node]:
    """Yields the nodes that give tensors of the network's from which a node computes."""
    waiting, seen = [node], set[fx.Node]()
    while waiting:
        found = waiting.pop()
        if isinstance(found, fx.Node) and found not in seen:
            seen.add(found)
            waiting += found.all_input_nodes
            if found.op == "get_attr":
                yield found


class _Follow(fx.Interpreter):
    """Carries out a graph on numbers, and beside it on symbols."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.model = model
        self.book = Book()
        self.marks: dict[fx.Node, Any] = {}
        self.constants: dict[fx.Node, dict[Place, Tensor]] = {}
        self.formulas: dict[fx.Node, Any] = {}
        self.keys = {key: h[0].keys[0] for h in held_tensors(model) for holder in h for key in holder.keys}
        self.names = Names(model)

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except Exception as e:
            raise ModelError(
                f"{type(self.model).__name__} does not run on the example: {cause_of(e)}; give inputs as it "
                "takes them"
            ) from None
        if n.op == "output":
            for symbols in self._given(n):
                self.book.freeze(symbols, "it is an output of the network")
        elif n.op == "placeholder":
            self._mark(n, value, "it is an input of the network")
        elif n.op == "get_attr":
            self._read(n, str(n.target), value)
        else:
            self._called(n, value)
        return value

    def _called(self, n: fx.Node, value: Any) -> None:
        has_tensors, kind = any(True for _ in tensors(value)), operation_of(n, self.model).kind
        is_counted = n.op != "call_module" and not n.meta[OF_BUFFERS] and numbers_in(value)
        name = self.names.of(n.meta[WITHIN], n) if is_counted else ""
        own = parametrized_key(n, self.model)
        if own is not None:
            self._read(n, own, value)
        elif kind is Kind.CAST and n.all_input_nodes and n.all_input_nodes[0] not in self.marks:
            if n.all_input_nodes[0] in self.constants:
                self._computed(n, value, kind)
        elif self._given(n) or (kind is Kind.EMBEDDING and has_tensors):
            if has_tensors:
                self._keep_sizes(n, kind)
                self.marks[n] = self._transferred(n, value, kind, name)
            elif value is None:
                self._block(n, value, "is an operation that no rule is known for")
            else:
                self.formulas[n] = formula_of(n, value, self.env, self.marks, self.formulas)
        elif any(node in self.constants for node in n.all_input_nodes):
            self._computed(n, value, kind)
        elif any(node in self.formulas for node in n.all_input_nodes):
            self.formulas[n] = formula_of(n, value, self.env, self.marks, self.formulas)

    def _read(self, n: fx.Node, name: str, value: Any) -> None:
        """Gives a tensor that forward reads symbols along each of its axes."""
        if not isinstance(value, Tensor) or not is_held(self.model, name):
            return
        key, self.constants[n] = self.keys.get(name, name), {}
        for axis, size in enumerate(value.shape):
            if size > 1:
                own = self.book.fresh(size)
                self.book.at(Place(key, axis), own)
                self.constants[n][Place(key, axis)] = spread(own, axis, value.shape)

    def _computed(self, n: fx.Node, value: Any, kind: Kind) -> None:
        """Follows tensors of the network's through an operation on constants alone."""
        constants = Constants(n, kind, value, self.env, self.constants, self.book)
        if is_shape(n):
            self.formulas[n] = constants.size()
            return
        moved = constants.after()
        is_described = kind is Kind.SHAPE and constants.called not in ("numel", "len")
        for node in constants.inputs:
            for place, symbols in self.constants.get(node, {}).items():
                if place not in moved and not is_described:
                    self.book.freeze(symbols, f"{n.name} computes with all of {place.key}")
        self.constants[n] = moved

    def _keep_sizes(self, n: fx.Node, kind: Kind) -> None:
        """Keeps sizes as they are that an operation computes with, but for those that are rewritten."""
        if kind in _REWRITTEN:
            return
        for node in n.all_input_nodes:
            for size in extents(self.formulas.get(node)):
                others = [axis for axis in varying(size.symbols) if axis != size.axis]
                if size.axis in varying(size.symbols) and others:
                    self.book.pinned(size.symbols, size.axis)
                elif size.axis in varying(size.symbols):
                    self.book.freeze(size.symbols, f"{n.name} computes with the number of channels")

    def _transferred(self, n: fx.Node, value: Any, kind: Kind, name: str) -> Any:
        transfer = TRANSFERS.get(kind)
        if transfer is None:
            return self._block(n, value, "is an operation that no rule is known for")
        known = (self.env, self.marks, self.constants, self.formulas)
        try:
            return transfer(Step(n, self.model, value, *known, name, self.keys, self.book))
        except Blocked as e:
            return self._block(n, value, str(e))
        except RuntimeError as e:  # torch refuses to move integers so
            return self._block(n, value, f"cannot be followed: {cause_of(e)}")

    def _block(self, n: fx.Node, value: Any, why: str) -> Any:
        reason = f"{n.target if n.op == 'call_module' else n.name} {why}"
        self._name_weights(n, value, reason)
        for symbols in self._given(n):
            self.book.freeze(symbols, reason)
        for node in n.all_input_nodes:
            for symbols in self.constants.get(node, {}).values():
                self.book.freeze(symbols, reason)
        return self._fixed(value, reason)

    def _name_weights(self, n: fx.Node, value: Any, reason: str) -> None:
        """Notes whose outputs a blocked layer gives, or a function with weights that are computed."""
        kind, module = operation_of(n, self.model).kind, module_of(n, self.model)
        if kind not in _LAYERS or not isinstance(value, Tensor):
            return
        axis = 1 if kind in (Kind.EMBEDDING, Kind.TRANSPOSED_CONVOLUTION) else 0
        if module is not None:
            size = getattr(module, "out_channels", value.shape[-1])
            at = -1 if kind in (Kind.LINEAR, Kind.EMBEDDING) else 1 - module.weight.ndim  # type: ignore[operator]
            key = f"{n.target}.weight"
            if value.ndim >= -at and value.shape[at] == size == module.weight.shape[axis]:  # type: ignore
                self._keeps_outputs(Place(self.keys.get(key, key), axis), str(n.target), size, reason)
            return
        for source in _sources(n.args[1] if len(n.args) > 1 else n.kwargs.get("weight")):
            key = self.keys.get(str(source.target), str(source.target))
            outs = self.book.places.get(Place(key, axis))
            if outs is not None and sum(place.key == key for place in self.book.places) > 1:
                self._keeps_outputs(Place(key, axis), key, len(outs), reason)

    def _keeps_outputs(self, place: Place, layer: str, size: int, reason: str) -> None:
        outs = self.book.places[place] if place in self.book.places else self.book.fresh(size)
        self.book.freeze(outs, reason)
        if layer not in self.book.outputs:
            self.book.at(place, outs, layer)
            self.book.gives(layer, outs)

    def _mark(self, n: fx.Node, value: Any, reason: str) -> None:
        if any(True for _ in tensors(value)):
            self.marks[n] = self._fixed(value, reason)

    def _fixed(self, value: Any, reason: str) -> Any:
        return tensors_as(value, lambda t: self.book.fixed(t.shape, reason))

    def _given(self, n: fx.Node) -> list[Tensor]:
        return [found for node in n.all_input_nodes for found in tensors(self.marks.get(node))]
