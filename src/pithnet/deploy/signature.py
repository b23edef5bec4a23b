"""The tensors that a network is called with and gives, with names: what an ONNX file can say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.errors import DataError, ModelError
from pithnet.learn.batch import describe

INPUT, OUTPUT = "input", "logits"


@dataclass(frozen=True)
class Call:
    """One call of a network, `model(*args, **kwargs)`, whose tensors are known by name.

    What is no tensor, None or a number say, is a constant of the call.

    Attributes:
        args: The arguments by position.
        kwargs: The arguments by keyword.
        names: The names of the tensors, in order.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: tuple[str, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs in the order of `names`."""
        return tuple(named_tensors((*self.args, *self.kwargs.values())).values())

    @property
    def batch(self) -> int:
        """The number of samples the call is about: the length of its first tensor that has axes."""
        return next(len(t) for t in self.tensors if t.ndim)

    def with_tensors(self, tensors: Iterator[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns (args, kwargs) of the same call with other tensors."""
        args = tuple(_filled(value, tensors) for value in self.args)
        return args, {key: _filled(value, tensors) for key, value in self.kwargs.items()}

    def map(self, change: Callable[[Tensor], Tensor]) -> Call:
        """Returns the call with every tensor changed."""
        return Call(*self.with_tensors(map(change, self.tensors)), self.names)


def call_of(model: nn.Module, inputs: Any) -> Call:
    """Returns the call that gives the model `inputs`; a call is returned as it is.

    A single tensor is called "input", others as the arguments of `forward` or the keys of the dict.

    Args:
        model: The network.
        inputs: A tensor, a tuple or list of arguments, or a dict of them.

    Raises:
        DataError: There is no tensor (B, ...) among the inputs.
    """
    if isinstance(inputs, Call):
        return inputs
    if isinstance(inputs, Mapping):
        args: tuple[Any, ...] = ()
        kwargs = {str(key): value for key, value in inputs.items()}
        names = tuple(named_tensors(kwargs))
    else:
        args, kwargs = (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}
        names = tuple(named_tensors(dict(zip(_arguments(model, len(args)), args, strict=True))))
        names = (INPUT,) if len(names) == 1 else names
    call = Call(args, kwargs, names)
    if not any(t.ndim for t in call.tensors):
        raise DataError(f"there is no tensor (B, ...) in the example, {describe(inputs)}; give one")
    return call


def _arguments(model: nn.Module, count: int) -> list[str]:
    """Returns names for that many arguments by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [p.name for p in inspect.signature(model.forward).parameters.values() if p.kind in kinds]
    return [*known[:count], *(f"{INPUT}_{i}" for i in range(len(known), count))]


def named_tensors(value: Any) -> dict[str, Tensor]:
    """Returns every tensor of a network's output, or of its arguments, by name, without what is no tensor.

    A tensor alone is "logits". In mappings, dataclasses, named tuples and other objects the keys and the
    names of attributes are the names, in tuples and lists "output_0", "output_1" and so on; parts of parts
    are joined by dots.
    """
    return {OUTPUT: value} if isinstance(value, Tensor) else dict(_named(value, ""))


def _named(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
        return
    for key, part in _parts(value):
        alone = name or ("" if not key.isdigit() else "output")
        joint = "_" if alone == "output" and not name else "."
        yield from _named(part, f"{alone}{joint}{key}" if alone else key)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields what an output holds, with names."""
    if isinstance(value, Mapping):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, tuple | list):
        keys = getattr(value, "_fields", range(len(value)))
        yield from zip(map(str, keys), value, strict=True)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((f.name, getattr(value, f.name)) for f in fields(value))
    elif hasattr(value, "__dict__") and not isinstance(value, nn.Module | type):
        yield from ((key, part) for key, part in vars(value).items() if not key.startswith("_"))


def _filled(value: Any, tensors: Iterator[Tensor]) -> Any:
    """Returns the value with its tensors replaced by the next ones; containers become plain ones."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, Mapping):
        return {key: _filled(part, tensors) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_filled(part, tensors) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    if any(True for _ in _named(value, "")):
        raise ModelError(
            f"a {type(value).__name__} among the arguments cannot be exported; pass its tensors one by one"
        )
    return value


def main_output(output: Any) -> str:
    """Returns the name of the output that holds the answer: "logits" where there is one, else the first.

    Raises:
        ModelError: The output holds no tensor.
    """
    names = list(named_tensors(output))
    if not names:
        raise ModelError(f"the model returns {describe(output)}, in which there is no tensor to compare")
    return OUTPUT if OUTPUT in names else names[0]


def cast(call: Call, dtype: torch.dtype) -> Call:
    """Returns the call with its floating-point tensors in another dtype, on the CPU."""
    return call.map(lambda t: t.cpu().to(dtype) if t.is_floating_point() else t.cpu())
