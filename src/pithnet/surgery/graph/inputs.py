"""What a forward is called with: an example of a network's inputs, bound to the names of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, fx, nn

from pithnet.errors import ModelError

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Required:
    """Stands for the value of an argument that has no default, where there is no example."""

    def __reduce__(self) -> str:
        return "REQUIRED"  # copies of it, and what is read from a pickle, are this one


REQUIRED = _Required()


def bound(model: nn.Module, example: Any = REQUIRED) -> inspect.BoundArguments:
    """Binds an example to the arguments of the model's forward; all others keep their defaults.

    Args:
        model: A network.
        example: As `learn.call` takes inputs: a tensor for the first argument, a tuple or list of arguments
            in order, or a mapping of them by name. Without one, `REQUIRED` stands for each argument that has
            no default, or for the first where all have one.

    Raises:
        ModelError: The forward does not take what the example gives.
    """
    signature = _signature(model)
    if example is REQUIRED:
        return _required(signature)
    args, named = call_arguments(example)
    try:
        return signature.bind(*args, **named)
    except TypeError as e:
        raise ModelError(
            f"the forward of {type(model).__name__} takes {signature}, and the example does not fit: {e}; "
            "give a tensor, a tuple of its arguments, or a dict of them by name"
        ) from None


def call_arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns an example as the arguments of a call, by position and by name; see `bound`."""
    if isinstance(example, Mapping):
        return (), dict(example)
    return (tuple(example), {}) if isinstance(example, tuple | list) else ((example,), {})


def tensors(value: Any) -> Iterator[Tensor]:
    """Yields every tensor in nested tuples, lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors(part)


def tensors_as(example: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Returns the example with every tensor changed, in tuples, lists and mappings of any nesting."""
    if isinstance(example, Tensor):
        return change(example)
    if isinstance(example, Mapping):
        return {name: tensors_as(value, change) for name, value in example.items()}
    if isinstance(example, tuple | list):
        return tuple(tensors_as(value, change) for value in example)
    return example


def one_sample(example: Any) -> Any:
    """Returns the first sample of a batch, (1, ...), in the example's nesting.

    The batch is as long as the first tensor; tensors of another length, such as tables, stay whole.
    """
    size = next((len(tensor) for tensor in tensors(example) if tensor.ndim), None)
    return tensors_as(example, lambda tensor: tensor[:1] if tensor.ndim and len(tensor) == size else tensor)


def is_constant(value: Any) -> bool:
    """Tells whether a value is a flag, a number or a word, by which a forward may decide."""
    return value is None or isinstance(value, bool | int | float | str)


def require_constant(name: str, value: Any, built_in: Any) -> None:
    """Checks a flag or number that a forward is called with against the one that its graph has built in.

    Raises:
        ModelError: It is another one.
    """
    if value != built_in:
        raise ModelError(
            f"the forward was followed with {name}={built_in!r}, which is built in since; it cannot be "
            f"called with {name}={value!r}"
        )


def given_to(graph: fx.Graph) -> dict[str, Any]:
    """Returns the arguments that a graph was followed with, by name; `REQUIRED` for tensors.

    `bound` takes it as an example, unless some of them have no name.
    """
    found = {str(node.target): REQUIRED for node in graph.nodes if node.op == "placeholder"}
    checks = [node for node in graph.nodes if node.target is require_constant]
    return found | {check.args[0]: check.args[2] for check in checks}


def values(model: nn.Module, example: Any) -> tuple[Any, ...]:
    """Returns what the inputs of the model's graph get from an example, in order.

    Raises:
        ModelError: The forward does not take what the example gives.
    """
    return tuple(value for _, value in flat(bound(model, example)))


def flat(arguments: inspect.BoundArguments) -> Iterator[tuple[str, Any]]:
    """Yields the arguments one by one, with the names that the inputs of a graph get."""
    for name, value in arguments.arguments.items():
        kind = arguments.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            yield from ((f"{name}_{place}", part) for place, part in enumerate(value))
        elif kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value


def replaced(arguments: inspect.BoundArguments, by: Mapping[str, Any]) -> inspect.BoundArguments:
    """Returns the same arguments with other values, `by` the names that `flat` gives."""
    found = arguments.signature.bind_partial()
    for name, value in arguments.arguments.items():
        kind = arguments.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            found.arguments[name] = tuple(by[f"{name}_{place}"] for place in range(len(value)))
        else:
            is_named = kind is inspect.Parameter.VAR_KEYWORD
            found.arguments[name] = {key: by[key] for key in value} if is_named else by[name]
    return found


def _signature(model: nn.Module) -> inspect.Signature:
    signature = inspect.signature(type(model).forward)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _required(signature: inspect.Signature) -> inspect.BoundArguments:
    parameters = list(signature.parameters.values())
    found = signature.bind_partial()
    for p in parameters:
        if p.default is p.empty and p.kind not in _VARIADIC:
            found.arguments[p.name] = REQUIRED
    if not found.arguments and parameters and parameters[0].kind is not inspect.Parameter.VAR_KEYWORD:
        first = parameters[0]
        several = first.kind is inspect.Parameter.VAR_POSITIONAL
        found.arguments[first.name] = (REQUIRED,) if several else REQUIRED
    return found
