"""Models inside models, as torch.compile and DataParallel put them."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

_COMPILED = (
    "_orig_mod"  # where torch.compile keeps the module; its class is not imported: that takes a second
)


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the network that torch.compile, DataParallel or DistributedDataParallel wrapped.

    It holds the wrapper's very parameters: what is done to it in place, the wrapper computes with.
    """
    while True:
        if _COMPILED in model._modules:
            inner = model._modules[_COMPILED]
        elif isinstance(model, DataParallel | DistributedDataParallel):
            inner = model.module
        else:
            return model
        assert isinstance(inner, nn.Module)
        model = inner


def plain_key(key: str) -> str:
    """Returns a name without the steps of wrapped parts: "body._orig_mod.weight" becomes "body.weight"."""
    return ".".join(part for part in key.split(".") if part != _COMPILED)
