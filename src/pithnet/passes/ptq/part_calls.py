"""The calls by which a network uses one of its parts: with what, and what the part gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pithnet.errors import ModelError
from pithnet.learn.batch import call, describe, tensors
from pithnet.surgery import attach, evaluating, weighted_layers

Watch = Callable[[nn.Module, list[Any]], RemovableHandle]


class _Reached(Exception):
    """A signal that the part has been called: what comes after it is not needed."""


@dataclass(frozen=True)
class CallArguments:
    """The arguments that a part is called with, tensors and others in any nesting.

    Attributes:
        args: Those by position.
        named: Those by name.
    """

    args: tuple[Any, ...]
    named: dict[str, Any]

    def __str__(self) -> str:
        return ", ".join([*map(describe, self.args), *(f"{k}={describe(v)}" for k, v in self.named.items())])


def arguments_of(
    model: nn.Module, name: str, batches: Sequence[tuple[Any, Any]]
) -> Iterator[CallArguments | None]:
    """Yields what a part is called with first in eval mode, for each batch; None where it is not called.

    The network is run no further, and the part itself is not run.

    Args:
        model: The network.
        name: The part's.
        batches: What `read_once` gives.
    """

    def watch(part: nn.Module, found: list[Any]) -> RemovableHandle:
        def stop(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            found.append(CallArguments(args, named))
            raise _Reached

        return part.register_forward_pre_hook(stop, with_kwargs=True)

    return _first_calls(model, name, batches, watch)


def outputs_of(
    model: nn.Module, name: str, batches: Sequence[tuple[Any, Any]]
) -> Iterator[list[Tensor] | None]:
    """Yields what a part gives at its first call, for each batch; None where it is not called.

    Args:
        model: The network.
        name: The part's.
        batches: What `read_once` gives.

    Yields:
        Its floating-point tensors.

    Raises:
        ModelError: The part gives no floating-point tensor.
    """

    def watch(part: nn.Module, found: list[Any]) -> RemovableHandle:
        def stop(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            found.append(float_outputs(name, part, output))
            raise _Reached

        return part.register_forward_hook(stop)

    return _first_calls(model, name, batches, watch)


def _first_calls(
    model: nn.Module, name: str, batches: Sequence[tuple[Any, Any]], watch: Watch
) -> Iterator[Any]:
    part = model.get_submodule(name)
    for inputs, _ in batches:
        found: list[Any] = []
        with answering(model):
            handle = watch(part, found)
            try:
                call(model, inputs)
            except _Reached:
                pass
            finally:
                handle.remove()
        yield found[0] if found else None  # without the hook: the part can be run on it


@contextmanager
def answering(model: nn.Module) -> Iterator[None]:
    """Puts a network in eval mode without gradients, and without a cache of keys and values.

    That is `config.use_cache` of language models. A cache that a block is called with is changed by every
    call, and the next one would see it.
    """
    config = getattr(model, "config", None)
    cached = getattr(config, "use_cache", None) is True
    with torch.no_grad(), evaluating(model):
        if cached:
            config.use_cache = False  # type: ignore[union-attr]
        try:
            yield
        finally:
            if cached:
                config.use_cache = True  # type: ignore[union-attr]


def float_outputs(name: str, part: nn.Module, output: Any) -> list[Tensor]:
    """Returns the floating-point tensors in a part's output.

    Args:
        name: The part's.
        part: The part.
        output: A tensor, a tuple, a dict or an object with fields.

    Raises:
        ModelError: The output holds no floating-point tensor; the message names the part.
    """
    nest = output if isinstance(output, Tensor | Mapping | tuple | list) else getattr(output, "__dict__", ())
    found = [t for t in tensors(nest) if t.is_floating_point()]
    if not found:
        if not name:
            raise ModelError(
                f"the network gives {describe(output)}, no floating-point tensor by which errors could be "
                "measured; let its forward return logits or other numbers with fractions"
            )
        raise ModelError(
            f"{name} ({type(part).__name__}) gives {describe(output)}, no floating-point "
            "tensor, and cannot be reconstructed; add its layers to quantize's skip"
        )
    return found


def unread_layers(model: nn.Module, names: Sequence[str], batches: Sequence[tuple[Any, Any]]) -> list[str]:
    """Returns the names of layers whose weights the forward reads for none of the batches.

    Reading counts, not calling: a forward may compute with `self.layer.weight` and never call the layer, as
    torch's attention does with its output projection. The model itself is left alone.

    Args:
        model: The network.
        names: The layers to look at.
        batches: What `read_once` gives.
    """
    trial, read = copy.deepcopy(model), set[str]()
    for name, layer in weighted_layers(trial):
        if name in names:
            attach(layer, _Reading(name, read))
    read.clear()  # attaching reads them too
    with answering(trial):
        for inputs, _ in batches:
            call(trial, inputs)
            if len(read) == len(names):
                break
    return [name for name in names if name not in read]


class _Reading(nn.Module):
    """A parametrization that changes nothing and notes that the weight is read."""

    def __init__(self, name: str, read: set[str]) -> None:
        super().__init__()
        self.name, self.read = name, read

    def forward(self, weight: Tensor) -> Tensor:
        self.read.add(self.name)
        return weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight
