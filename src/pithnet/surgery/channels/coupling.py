"""Which channels of a network go together: a symbol for each channel is followed through its forward.

Every kind of operation has a function that says where the symbols go (`transfer`). An operation without one
is a barrier: the channels that reach it stay, and the reason is kept.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.channels.groups import Channels, grouped
from pithnet.surgery.channels.step import Step
from pithnet.surgery.channels.symbols import Blocked, Book
from pithnet.surgery.channels.transfer import TRANSFERS
from pithnet.surgery.graph.inputs import given_to, tensors, tensors_as, values
from pithnet.surgery.graph.lookup import operation_of
from pithnet.surgery.graph.tracing import cause_of, traced
from pithnet.surgery.weights.holders import held_tensors
from pithnet.surgery.weights.unsupported import check_usable
from pithnet.surgery.wrappers import unwrapped


def find_channels(model: nn.Module, example: Any) -> Channels:
    """Finds out which channels of a network go together, and which cannot go.

    The forward is followed by torch.fx and carried out once, in eval mode, on a copy of the network.

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
    graph = traced(model, "removing channels", example)
    copied = copy.deepcopy(model).eval()
    follow = _Follow(copied, graph)
    given = values(copied, tensors_as(example, lambda t: t.detach().clone()))
    try:
        with torch.no_grad():
            follow.run(*given)
    except Exception as e:
        raise ModelError(
            f"{type(model).__name__} does not run on the example: {cause_of(e)}; give inputs as it takes them"
        ) from None
    follow.freeze_what_is_read()
    return grouped(follow.book, given_to(graph))


class _Follow(fx.Interpreter):
    """Carries out a graph on numbers, and beside it on symbols."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.model = model
        self.book = Book()
        self.marks: dict[fx.Node, Any] = {}
        self.keys = {key: h[0].keys[0] for h in held_tensors(model) for holder in h for key in holder.keys}
        self.read: set[str] = set()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op == "output":
            for symbols in self._given(n):
                self.book.freeze(symbols, "it is an output of the network")
        elif n.op == "placeholder":
            self._mark(n, value, "it is an input of the network")
        elif n.op == "get_attr":
            self.read.add(str(n.target))
            if isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1:
                self._mark(n, value, f"it meets {n.target}, a tensor that is no layer's weight")
        elif self._given(n) and any(True for _ in tensors(value)):
            self.marks[n] = self._transferred(n, value)
        elif self._given(n) and value is None:
            self._block(n, value, "is an operation that no rule is known for")
        return value

    def _transferred(self, n: fx.Node, value: Any) -> Any:
        transfer = TRANSFERS.get(operation_of(n, self.model).kind)
        if transfer is None:
            return self._block(n, value, "is an operation that no rule is known for")
        try:
            return transfer(Step(n, self.model, value, self.env, self.marks, self.keys, self.book))
        except Blocked as e:
            return self._block(n, value, str(e))
        except RuntimeError as e:  # torch refuses to move integers so
            return self._block(n, value, f"cannot be followed: {cause_of(e)}")

    def _block(self, n: fx.Node, value: Any, why: str) -> Any:
        reason = f"{n.target if n.op == 'call_module' else n.name} {why}"
        for symbols in self._given(n):
            self.book.freeze(symbols, reason)
        return self._fixed(value, reason)

    def _mark(self, n: fx.Node, value: Any, reason: str) -> None:
        if any(True for _ in tensors(value)):
            self.marks[n] = self._fixed(value, reason)

    def _fixed(self, value: Any, reason: str) -> Any:
        return tensors_as(value, lambda t: self.book.fixed(t.shape, reason))

    def _given(self, n: fx.Node) -> list[Tensor]:
        return [found for node in n.all_input_nodes for found in tensors(self.marks.get(node))]

    def freeze_what_is_read(self) -> None:
        """Freezes the channels of weights that forward reads as tensors, beside the layers that hold them."""
        for name in self.read:
            key = self.keys.get(name, name)
            for place, symbols in self.book.places.items():
                if place.key == key:
                    self.book.freeze(symbols, f"{name} is read as a tensor, apart from its layer")
