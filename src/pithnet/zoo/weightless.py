"""Networks of the zoo without memory for their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pithnet.zoo.network import ZooNetwork
from pithnet.zoo.registry import build

_FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.tensor)
_FILLS = (torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.fill_, torch.Tensor.zero_)


class _WithoutNumbers(TorchFunctionMode):
    """A mode in which tensors are made on the meta device and never filled.

    The context torch.device("meta") alone would run the initialisation in Python, which costs a second the
    first time.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FILLS:
            return args[0]
        if func in _FACTORIES and kwargs.get("device") is None:
            kwargs["device"] = "meta"
            if func is not torch.tensor and kwargs.get("dtype") is None:
                kwargs["dtype"] = torch.float32
        return func(*args, **kwargs)


def build_weightless(name: str, **arguments: Any) -> ZooNetwork:
    """Returns what `build` does with all tensors on the meta device, for a fraction of the time.

    Args:
        name: The architecture.
        **arguments: Its arguments, as `build` takes them.

    Raises:
        ModelError: As `build` does.
    """
    with _WithoutNumbers():
        return build(name, **arguments)
