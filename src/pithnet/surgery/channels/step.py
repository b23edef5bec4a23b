"""One step of a network's forward, as the functions see it that say where its channels go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from pithnet.surgery.channels.symbols import Argument, Blocked, Book, Place, Size
from pithnet.surgery.graph.foldable import own_way
from pithnet.surgery.graph.inputs import tensors
from pithnet.surgery.graph.tracing import WITHIN, module_of

_VIEWS = ("view", "view_as", "_unsafe_view")  # they refuse symbols that are views themselves


@dataclass(frozen=True)
class Step:
    """One step, which has been carried out.

    Attributes:
        node: The node of the network's graph.
        model: The network.
        value: What the step gave.
        values: What nodes before it gave.
        marks: The symbols of what they gave, tensors in the same nesting; of those that have any.
        keys: For each name of a tensor in the state_dict the first of its names.
        book: Where functions write what they find.
    """

    node: fx.Node
    model: nn.Module
    value: Any
    values: Mapping[fx.Node, Any]
    marks: Mapping[fx.Node, Any]
    keys: Mapping[str, str]
    book: Book

    @property
    def given(self) -> list[Tensor]:
        """The symbols of the inputs that have any, in order, each input once."""
        return [found for node in self.node.all_input_nodes for found in tensors(self.marks.get(node))]

    @property
    def only(self) -> Tensor:
        """The symbols of the only input.

        Raises:
            Blocked: There are several.
        """
        if len(self.given) != 1:
            raise Blocked("takes several inputs")
        return self.given[0]

    @property
    def module(self) -> nn.Module | None:
        """The module that is called, None where a function is."""
        return module_of(self.node, self.model)

    @property
    def called(self) -> str:
        """The name of what is called: a function's, a method's or a module's class's."""
        module, target = self.module, self.node.target
        if module is not None:
            return type(module).__name__
        return target if isinstance(target, str) else str(getattr(target, "__name__", target))

    @property
    def within(self) -> nn.Module:
        """The module in whose forward the step stands."""
        return self.model.get_submodule(self.node.meta[WITHIN])

    def layer(self, *kinds: type[nn.Module]) -> Any:
        """Returns the module that is called.

        Args:
            *kinds: The classes of torch's that it may be of.

        Raises:
            Blocked: It is none of them, or has ways of its own.
        """
        module = self.module
        if module is None:
            raise Blocked("is given its weights as tensors")
        way = own_way(module, kinds)
        if way is not None:
            raise Blocked(way)
        return module

    def argument(self, place: int, name: str) -> Any:
        """Returns the value of an argument by place or name, None where it is not given."""
        found = self.node.args[place] if len(self.node.args) > place else self.node.kwargs.get(name)
        return fx.map_arg(found, lambda node: self.values[node])

    def literal(self, place: int, name: str, *within: int) -> Argument | None:
        """Returns where a whole number stands in the code, None where it is computed, or not given.

        Args:
            place: The argument's place.
            name: Its name.
            *within: Places in the tuple that it is.
        """
        first: int | str = place if len(self.node.args) > place else name
        value: Any = self.node.args[place] if len(self.node.args) > place else self.node.kwargs.get(name)
        for step in within:
            value = value[step]
        return Argument(self.node.name, (first, *within)) if isinstance(value, int) else None

    def moved(self) -> Any:
        """Carries the step out on the symbols instead of the numbers.

        Raises:
            Blocked: Some of the tensors have no symbols.
        """
        args = fx.map_arg((self.node.args, self.node.kwargs), self._symbols)
        module = self.module
        if module is not None:
            return module(*args[0], **args[1])
        if self.node.op == "call_method":
            return getattr(args[0][0], str(self.node.target))(*args[0][1:], **args[1])
        assert callable(self.node.target)
        return self.node.target(*args[0], **args[1])

    def _symbols(self, node: fx.Node) -> Any:
        if node in self.marks:
            found = self.marks[node]
            return found.contiguous() if self.called in _VIEWS else found
        value = self.values[node]
        if any(found.is_floating_point() for found in tensors(value)):
            raise Blocked("puts channels and constants together")
        return value

    def place(self, tensor: str, axis: int) -> Place:
        """Returns the place of an axis of a tensor of the module that is called."""
        key = f"{self.node.target}.{tensor}"
        return Place(self.keys.get(key, key), axis)

    def lies(self, tensor: str, axis: int, symbols: Tensor, makes: bool = False) -> None:
        """Notes the symbols along an axis of a tensor of the called module, where it has that tensor.

        Args:
            tensor: The tensor's name in the module.
            axis: The axis.
            symbols: (size,).
            makes: Whether these are the layer's outputs.
        """
        if getattr(self.module, tensor, None) is not None:
            self.book.at(self.place(tensor, axis), symbols, str(self.node.target) if makes else None)

    def counts(self, attribute: str, symbols: Tensor) -> None:
        """Notes that an attribute of the called module counts these symbols, (size,)."""
        self.book.counts(Size(str(self.node.target), attribute), symbols)
