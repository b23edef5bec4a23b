"""A zoo network without memory for its numbers: its layout, ready to fill, for a fraction of building it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pithnet.artifact.metadata import Scalar
from pithnet.errors import ArtifactError, PithError
from pithnet.zoo import build

_LARGEST_ARGUMENT = 1 << 20
_LONGEST_ARGUMENT = 100
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


def skeleton(architecture: str, arguments: Mapping[str, Scalar]) -> nn.Module:
    """Returns the zoo's network of that name with all tensors on the meta device.

    Args:
        architecture: the network's name.
        arguments: arguments of its constructor, as a file's header gives them.

    Raises:
        ArtifactError: The architecture is unknown, or the arguments are not its own or out of reason.
    """
    for name, value in arguments.items():
        if isinstance(value, str) and len(value) > _LONGEST_ARGUMENT:
            raise ArtifactError(f"header: {architecture} cannot have a {name} of {len(value)} characters")
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and not 0 < value <= _LARGEST_ARGUMENT
        ):
            raise ArtifactError(f"header: {architecture} cannot have {name} = {value!r}")
    try:
        with _WithoutNumbers():
            return build(architecture, **arguments)
    except (PithError, RuntimeError, TypeError, ValueError, ArithmeticError) as e:
        raise ArtifactError(f"header: {architecture} cannot be built: {e}") from e
