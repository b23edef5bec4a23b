"""Forward passes over several batches that go from layer to layer together.

What a layer is given in a network that is being changed layer by layer depends on all layers before it. Here
every batch is on its way through the network once: it waits at a layer until all batches have come to it and
the layer has been changed. Each has a thread, of which one runs at a time, so a forward may be any Python.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.learn.batch import call
from pithnet.passes.ptq.part_calls import CallArguments, answering


class _Ended(BaseException):
    """A signal that a forward is not needed any further; code that handles Exception lets it pass."""


class _Walk(threading.Thread):
    """One batch on its way through a network."""

    def __init__(self, network: nn.Module, inputs: Any) -> None:
        super().__init__(daemon=True)
        self.network, self.inputs = network, inputs
        self.wanted: str | None = None
        self.found: Any = None
        self.error: BaseException | None = None
        self.done = self.ended = False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)

    def run(self) -> None:
        self._go.acquire()
        try:
            if not self.ended:
                with torch.no_grad():
                    call(self.network, self.inputs)
        except _Ended:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.done, self.network, self.inputs = True, None, None  # type: ignore[assignment]
            self._back.release()

    def to(self, place: str) -> Any:
        """Goes on to a place and returns what is found there; None where the forward ends before."""
        if self.done:
            return None
        self.wanted, self.found = place, None
        self._go.release()
        self._back.acquire()
        if self.error is not None:
            raise self.error
        found, self.found = self.found, None
        return found

    def pause(self, place: str, found: Any) -> None:
        """Waits at a place if it is the wanted one; it is called in the thread."""
        if self.ended:
            raise _Ended
        if place != self.wanted:
            return
        self.wanted, self.found = None, found
        self._back.release()
        self._go.acquire()
        if self.ended:
            raise _Ended

    def end(self) -> None:
        """Ends the forward where it waits; without effect where it is done or never began."""
        self.ended = True
        if self.ident is None:
            return
        if not self.done:
            self._go.release()
            self._back.acquire()
        self.join()


class Walks:
    """Batches on their way through one network, in eval mode and without gradients.

    Attributes:
        count: How many there are.
    """

    def __init__(self, network: nn.Module, batches: Sequence[tuple[Any, Any]]) -> None:
        self._walks = [_Walk(network, inputs) for inputs, _ in batches]
        self.count = len(self._walks)

    def given(self, batch: int, name: str) -> CallArguments | None:
        """Goes on with a batch to the next call of a layer, which is not run yet.

        Returns:
            What the layer is called with; None where the forward ends without calling it.
        """
        found = self._walks[batch].to(_before(name))
        return found if isinstance(found, CallArguments) else None

    def output(self, batch: int, name: str) -> Tensor | None:
        """Goes on with a batch until a layer's next call is done.

        Returns:
            What the layer gave; None where the forward ends without calling it.
        """
        found = self._walks[batch].to(_after(name))
        return found if isinstance(found, Tensor) else None


@contextmanager
def walking(network: nn.Module, names: Sequence[str], batches: Sequence[tuple[Any, Any]]) -> Iterator[Walks]:
    """Gives walks through a network that can wait at the layers of these names; at the end none is left.

    Args:
        network: Any network; it may be changed while batches wait.
        names: Its layers.
        batches: What `read_once` gives.
    """
    walks = Walks(network, batches)
    handles = []
    for name in names:
        layer = network.get_submodule(name)
        handles.append(layer.register_forward_pre_hook(_Before(name), with_kwargs=True))
        handles.append(layer.register_forward_hook(_After(name)))
    with answering(network):
        try:
            for walk in walks._walks:
                walk.start()
            yield walks
        finally:
            for walk in walks._walks:
                walk.end()
            for handle in handles:
                handle.remove()


def _before(name: str) -> str:
    return f"before {name}"


def _after(name: str) -> str:
    return f"after {name}"


class _Before:
    def __init__(self, name: str) -> None:
        self.place = _before(name)

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        walk = threading.current_thread()
        if isinstance(walk, _Walk):
            walk.pause(self.place, CallArguments(args, named))


class _After:
    def __init__(self, name: str) -> None:
        self.place = _after(name)

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        walk = threading.current_thread()
        if isinstance(walk, _Walk):
            walk.pause(self.place, output)
