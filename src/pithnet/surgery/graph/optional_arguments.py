"""Optional arguments of a forward, left out while it is followed: they keep their defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def optional_left_out(model: nn.Module) -> Iterator[str | None]:
    """Within, forward takes its first argument alone where all others have defaults.

    torch.fx would ask `labels is not None` of a symbol that stands for them, and answer yes. Gives the first
    argument's name, None where forward stays as it is.
    """
    cls = type(model)
    parameters = list(inspect.signature(cls.forward).parameters.values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = all(p.kind in kinds for p in parameters)
    if len(parameters) < 2 or not known or any(p.default is p.empty for p in parameters[1:]):
        yield None
        return

    def forward(self: nn.Module, x: Any) -> Any:
        return cls.forward(self, x)

    model.__class__ = type(cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__})
    try:
        yield parameters[0].name
    finally:
        model.__class__ = cls
