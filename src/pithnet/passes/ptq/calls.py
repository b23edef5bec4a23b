"""Findings about layers in one network, kept for the same layers in another, call by call."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Generic, TypeVar

from pithnet.errors import ModelError

T = TypeVar("T")


class Calls(Generic[T]):
    """A queue for each layer, by name: where one is called more than once in a forward, call for call."""

    def __init__(self) -> None:
        self._found: defaultdict[str, deque[T]] = defaultdict(deque)

    def add(self, name: str, found: T) -> None:
        """Keeps what a call of the layer gave."""
        self._found[name].append(found)

    def take(self, name: str) -> T:
        """Returns what the layer's next call gave.

        Raises:
            ModelError: The layer was called less often; the message names it.
        """
        if not self._found[name]:
            raise ModelError(
                f"the model calls {name} more often than the reference does; give the same network before "
                "compression"
            )
        return self._found[name].popleft()

    def clear(self) -> None:
        """Forgets calls that were not taken; it is called before every batch."""
        self._found.clear()
