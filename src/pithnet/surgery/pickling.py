"""Modules whose class was made for them alone, to be saved by pickle, as torch.save(model) does.

torch's parametrizations, and a forward with quantizers in it, give a module a class that no file can name. It
is saved as one of the class that this derives from, with what was taken off, and with the functions that put
it on again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

# From a module's state (see `pickle`), in place: what puts a part of it on again, and that part.
TakeApart = Callable[[dict[str, Any]], tuple[Callable[[nn.Module, Any], None], Any]]
_NAME = "_pithnet_take_apart"


def make_picklable(cls: type[nn.Module], take_apart: TakeApart) -> None:
    """Lets modules of a class that was made for one module be saved.

    Args:
        cls: The class.
        take_apart: Returns what sets a module of it apart.
    """
    setattr(cls, _NAME, staticmethod(take_apart))
    cls.__reduce_ex__ = _reduce  # type: ignore[assignment,method-assign]


def is_made(cls: type) -> bool:
    """Tells whether `make_picklable` was called with this very class."""
    return _NAME in vars(cls)


def _reduce(module: nn.Module, protocol: int) -> tuple[Any, ...]:
    made, cls = [], type(module)
    while is_made(cls):
        made.append(cls)
        cls = cls.__bases__[0]
    state = dict(cls.__getstate__(module))
    state["_modules"] = dict(state["_modules"])
    steps = [getattr(each, _NAME)(state) for each in made]
    return _new, (cls,), (state, steps[::-1])


def _new(cls: type[nn.Module]) -> nn.Module:
    unfinished: Any = type(cls.__name__, (cls,), {"__setstate__": _finish})
    found: nn.Module = unfinished.__new__(unfinished)
    return found


def _finish(module: nn.Module, saved: tuple[dict[str, Any], list[tuple[Any, Any]]]) -> None:
    state, steps = saved
    module.__class__ = type(module).__bases__[0]
    module.__setstate__(state)
    for put_on, part in steps:
        put_on(module, part)
