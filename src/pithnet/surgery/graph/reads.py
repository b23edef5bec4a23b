"""Which modules look at `training` while a forward is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class _Watched:
    """Stands for `training` on nn.Module: the same value, and a note of who is asked for it."""

    def __init__(self, note: Callable[[], None]) -> None:
        self.note = note

    def __get__(self, module: nn.Module | None, owner: type[nn.Module]) -> Any:
        if module is None or "training" not in vars(module):
            raise AttributeError("training")
        self.note()
        return vars(module)["training"]

    def __set__(self, module: nn.Module, value: bool) -> None:
        vars(module)["training"] = value


@contextmanager
def watching_training(note: Callable[[], None]) -> Iterator[None]:
    """Calls `note` whenever a module's `training` is read within.

    nn.Module is patched for that time, as torch.fx patches it while it traces: an attribute of an instance
    cannot be watched otherwise.
    """
    nn.Module.training = _Watched(note)  # type: ignore[assignment]
    try:
        yield
    finally:
        del nn.Module.training
