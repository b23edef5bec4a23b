"""The bytes of a network's file, which budgets are of."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pithnet.artifact import encode
from pithnet.surgery import finalize

Weigh = Callable[[nn.Module], int]


def file_bytes(model: nn.Module) -> int:
    """Returns the bytes of the file that `pn.save(pn.finalize(model))` writes."""
    return len(encode(finalize(model)))
