"""What a forward computes from its network's tensors while it is followed: it is built into the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pithnet.surgery.graph.inputs import tensors

_READ = (
    "item", "tolist", "numpy", "is_nonzero", "equal", "allclose",
    "__bool__", "__int__", "__float__", "__complex__", "__index__", "__contains__", "__array__",
)  # fmt: skip


class Derived(TorchFunctionMode):
    """Notes, while it is active, which tensors are computed from a network's own.

    Attributes:
        read: The names of the network's tensors from which, or from what is computed from them, a number is
            read.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._own = {id(tensor): name for name, tensor in _named_tensors(model)}
        self._derived: dict[int, tuple[Tensor, str]] = {}  # with the tensor, lest another one gets its id
        self.read: set[str] = set()

    def source(self, tensor: Tensor) -> str | None:
        """Returns the name of the network's tensor from which this one is computed.

        It is None for the network's tensors themselves, and for those that are computed from none of them.
        """
        return None if id(tensor) in self._own else self._derived.get(id(tensor), (None, None))[1]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carries a function out, and notes what it gives where it is given a tensor of the network's."""
        named: Mapping[str, Any] = kwargs or {}
        result = func(*args, **named)
        found = [self._own.get(id(given)) or self.source(given) for given in tensors((args, named))]
        name = next(filter(None, found), None)
        if name is None:
            return result
        called = getattr(func, "__name__", "")
        if called == "__iter__":
            result = list(result)
        if called in _READ:
            self.read.add(name)
        changed = args[:1] if called in ("__setitem__", "copy_") else ()
        for tensor in (*tensors(result), *tensors(changed)):
            self._derived[id(tensor)] = tensor, name
        return iter(result) if called == "__iter__" else result


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
