"""No pass writes NaN or inf: one guard for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pithnet.errors import ModelError
from pithnet.surgery import chain, unchanged_on_error, weighted_layers

Pass = TypeVar("Pass", bound=Callable[..., Any])
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def guarded(change: Pass) -> Pass:
    """Makes a pass, a function of a model and more, leave finite numbers, or raise and change nothing.

    It puts `finite_or_unchanged` around the whole call.
    """

    @wraps(change)
    def run(model: nn.Module, *args: Any, **options: Any) -> Any:
        with finite_or_unchanged(model, change.__name__):
            return change(model, *args, **options)

    return cast(Pass, run)


@contextmanager
def finite_or_unchanged(model: nn.Module, what: str) -> Iterator[None]:
    """Puts the model back where the block ends in an error or leaves NaN or inf.

    It looks at parameters, buffers and the weights that layers compute with. What was not finite before may
    stay so.

    Args:
        model: The network that the block changes.
        what: The name of the pass, for messages.

    Raises:
        ModelError: A tensor that was finite before is not any more; the message names the first one.
    """
    with unchanged_on_error(model):
        before = {name for name, _ in _not_finite(model)}
        try:
            yield
        except ModelError as error:  # a look at the weights may have come first, and knows no pass
            _require_finite(model, what, before, error)
            raise
        _require_finite(model, what, before, None)


def _require_finite(model: nn.Module, what: str, before: set[str], cause: Exception | None) -> None:
    for name, value in _not_finite(model):
        if name not in before:
            raise ModelError(f"{what} would leave NaN or inf in {name}; {_advice(value)}") from cause


def _advice(value: Tensor) -> str:
    if value.dtype == torch.float16:
        return "float16 ends at 65,504: convert the model with .float() first. The model is as it was"
    return "look for extreme or missing values in the weights and the data. The model is as it was"


@torch.no_grad()
def _not_finite(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What holds NaN or inf, by name: layers' weights first, then every parameter and buffer."""
    for _, layer in weighted_layers(model):
        if chain(layer) and not _is_finite(layer.weight):
            yield layer.keys[0], layer.weight
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if not _is_finite(value):
            yield name, value


def _is_finite(value: Tensor) -> bool:
    if is_lazy(value) or value.is_meta or value.layout is not torch.strided or value.dtype not in _FLOATS:
        return True
    return bool(torch.isfinite(value).all())
