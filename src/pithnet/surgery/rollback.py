"""A model taken back to what it was: its modules, their tensors and the numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

# Dictionaries of a module that change in place where parametrizations come and go.
_CONTENTS = ("_parameters", "_buffers", "_modules")


@contextmanager
def unchanged_on_error(model: nn.Module) -> Iterator[None]:
    """Keeps changes within the block, unless it ends in an error: then the model is as it was before.

    Classes of modules (parametrizations change them), attributes, parameters and buffers are put back, the
    very objects, with their numbers. It takes as much memory as the model while the block runs.
    """
    modules = [_Before(m) for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    values = [(tensor, tensor.detach().clone()) for tensor in _tensors(model)]
    try:
        yield
    except BaseException:
        for module in modules:
            module.put_back()
        for tensor, value in values:
            _put_back(tensor, value)
        raise


class _Before:
    """A module with its class and attributes, and what its dictionaries of tensors and modules held."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.kind = module, type(module)
        self.attributes: dict[str, Any] = dict(vars(module))
        self.contents = {name: dict(self.attributes[name]) for name in _CONTENTS}

    def put_back(self) -> None:
        self.module.__class__ = self.kind
        vars(self.module).clear()
        vars(self.module).update(self.attributes)
        for name, content in self.contents.items():
            own = self.attributes[name]
            own.clear()
            own.update(content)


def _tensors(model: nn.Module) -> list[Tensor]:
    """Returns every parameter and buffer with numbers, once."""
    found = {id(t): t for t in (*model.parameters(), *model.buffers()) if not is_lazy(t) and not t.is_meta}
    return list(found.values())


@torch.no_grad()
def _put_back(tensor: Tensor, value: Tensor) -> None:
    if tensor.dtype != value.dtype or tensor.shape != value.shape:
        tensor.data = value
    elif not torch.equal(tensor, value):
        tensor.copy_(value)
