"""One step of a network's forward, as the functions see it that say where its channels go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from pithnet.surgery.channels.formulas import Extent, Formula, Written
from pithnet.surgery.channels.functional import Called
from pithnet.surgery.channels.symbols import Argument, Blocked, Book, Place, Size, spread, varying, vector
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
        constants: Of those that give a tensor of the network's, or move one, the symbols along each axis.
        formulas: Of those that give sizes how they depend on the channels.
        name: What a function's call is called in `costs`.
        keys: For each name of a tensor in the state_dict the first of its names.
        book: Where functions write what they find.
    """

    node: fx.Node
    model: nn.Module
    value: Any
    values: Mapping[fx.Node, Any]
    marks: Mapping[fx.Node, Any]
    constants: Mapping[fx.Node, Mapping[Place, Tensor]]
    formulas: Mapping[fx.Node, Any]
    name: str
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
        """Returns the module that is called, or the call of a function with the same attributes.

        Args:
            *kinds: The classes of torch's that it may be of.

        Raises:
            Blocked: It is none of them, or has ways of its own; or a function of other arguments.
        """
        module = self.module
        if module is None:
            function = Called(self.node, self.called, self.values)
            if not function.is_known:
                raise Blocked("is an operation that no rule is known for")
            return function
        way = own_way(module, kinds)
        if way is not None:
            raise Blocked(way)
        return module

    def argument(self, place: int, name: str) -> Any:
        """Returns the value of an argument by place or name, None where it is not given."""
        found = self.node.args[place] if len(self.node.args) > place else self.node.kwargs.get(name)
        return fx.map_arg(found, lambda node: self.values[node])

    def raw(self, place: int, name: str) -> Any:
        """Returns an argument as it stands in the graph: a node where it is computed, None without it."""
        return self.node.args[place] if len(self.node.args) > place else self.node.kwargs.get(name)

    def writes(
        self,
        place: int,
        name: str,
        within: tuple[int | str, ...],
        needed: Formula,
        found_from_end: Formula | None = None,
    ) -> None:
        """Notes that a number in the code has to be the one that is needed, whatever it is computed from.

        Args:
            place: The argument's place.
            name: Its name.
            within: Places in the tuple or slice that it is.
            needed: The formula of what it has to be.
            found_from_end: The formula of what it is, where it is below zero and counts from the end.
        """
        first: int | str = place if len(self.node.args) > place else name
        value: Any = self.raw(place, name)
        for inner in within:
            value = getattr(value, inner) if isinstance(inner, str) else value[inner]
        found = self.formulas.get(value, self.values[value]) if isinstance(value, fx.Node) else value
        if found_from_end is not None:
            found = found_from_end
        self.book.written[Argument(self.node.name, (first, *within))] = Written(found, needed)

    def multiplies(self, *sizes: Formula) -> None:
        """Notes that the multiply-accumulates of a function are in proportion to the product of sizes."""
        self.book.products.setdefault(self.name, []).append(sizes)

    def moved(self) -> Any:
        """Carries the step out on the symbols instead of the numbers.

        Raises:
            Blocked: Some of the tensors have no symbols.
        """
        return self._carried_out(self._symbols)

    def moved_from(self, symbols: Tensor) -> Any:
        """Carries the step out on these symbols in place of those of the only input that has any."""
        return self._carried_out(lambda node: symbols if node in self.marks else self.values[node])

    def _carried_out(self, given: Callable[[fx.Node], Any]) -> Any:
        args = fx.map_arg((self.node.args, self.node.kwargs), given)
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
        if not any(found.is_floating_point() for found in tensors(value)):
            return value
        if not isinstance(value, Tensor):
            raise Blocked("puts channels and constants together")
        return self.constant(node, {axis for given in self.given for axis in varying(given)})

    def constant(self, node: fx.Node, axes: Collection[int]) -> Tensor:
        """Returns symbols for a constant tensor that meets channels, in its shape.

        They are its own along the axis of the channels where it is a tensor of the network's, else fixed.

        Args:
            node: The node that gives it.
            axes: The axes along which the channels lie.
        """
        for symbols in self.constants.get(node, {}).values():
            if set(varying(symbols)) & set(axes):
                return symbols
        return self.book.fixed(self.values[node].shape, f"{self.node.name} puts constants in their place")

    def constant_along(self, node: fx.Node, axis: int) -> Tensor:
        """Returns the symbols of a tensor of the network's along an axis, (size,).

        Raises:
            Blocked: It is none, or one of which it is not known where its numbers come from.
        """
        for symbols in self.constants.get(node, {}).values():
            if varying(symbols) == [axis % symbols.ndim]:
                return vector(symbols, axis)
        raise Blocked("meets a constant for each channel")

    def made(self, node: fx.Node, axis: int) -> None:
        """Notes that the outputs of this step lie along an axis of a tensor of the network's.

        Where it is computed from several, as a weight times a gain, it is the one of the most axes.
        """
        found = self.constants.get(node, {})
        axes = Counter(place.key for place in self.book.places)
        most = max((axes[place.key] for place in found), default=0)
        for place, symbols in found.items():
            if axes[place.key] == most and varying(symbols) == [axis % symbols.ndim]:
                name = self._maker(place)
                self.book.at(place, self.book.places[place], name)
                self.book.gives(name, vector(symbols, axis))

    def _maker(self, place: Place) -> str:
        """Returns what outputs along an axis of a tensor are called, which may make others along another."""
        others = (p for p, maker in self.book.makers.items() if maker == place.key == p.key)
        return place.key if all(p == place for p in others) else f"{place.key} along axis {place.axis}"

    def place(self, tensor: str, axis: int) -> Place:
        """Returns the place of an axis of a tensor of the module that is called."""
        key = f"{self.node.target}.{tensor}"
        return Place(self.keys.get(key, key), axis)

    def lies(self, tensor: str, axis: int, symbols: Tensor, makes: bool = False) -> None:
        """Notes the symbols along an axis of a tensor of the layer, where it has that tensor.

        Args:
            tensor: The tensor's name in the module, or in the call of a function.
            axis: The axis.
            symbols: (size,).
            makes: Whether these are the layer's outputs.

        Raises:
            Blocked: A function is given a tensor of which it is not known where its numbers come from.
        """
        module = self.module
        if module is not None:
            if getattr(module, tensor, None) is not None:
                self.book.at(self.place(tensor, axis), symbols, str(self.node.target) if makes else None)
            return
        node = Called(self.node, self.called, self.values).raw(tensor)
        if node is None or self.values[node].shape[axis] == 1:
            return
        try:
            own = self.constant_along(node, axis)
        except Blocked:
            raise Blocked("is given weights that are computed") from None
        self.book.merge(own, symbols)
        if makes:
            self.made(node, axis)

    def counts(self, attribute: str, symbols: Tensor) -> None:
        """Notes that an attribute of the layer counts these symbols, (size,)."""
        if self.module is not None:
            self.book.counts(Size(str(self.node.target), attribute), symbols)
            return
        where = Called(self.node, self.called, self.values).where(attribute)
        if where is not None:
            self.writes(*where, (), Extent(symbols, 0))

    def gives(self, symbols: Tensor, axis: int) -> Tensor:
        """Notes that these symbols, (size,), are the outputs of the layer; returns them along an axis."""
        if self.module is not None:
            self.book.gives(str(self.node.target), symbols)
        return spread(symbols, axis, self.value.shape)
