"""The quantizers of a network that was followed with arguments which have defaults, and which these are.

A state_dict or a saved model has to say so: followed without them the network would be another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from pithnet.errors import ModelError
from pithnet.surgery.graph.inputs import REQUIRED, bound, flat, given_to

STATE = "_extra_state"  # its key in a state_dict, after the name of the module


class GivenArguments(nn.ModuleDict):
    """Quantizers by what they follow. given: the arguments by name; [] for a tensor, [value] for a flag."""

    def __init__(self, quantizers: Mapping[str, nn.Module], given: Mapping[str, list[Any]]) -> None:
        super().__init__(quantizers)
        self.given = dict(given)

    def get_extra_state(self) -> Tensor:
        """Returns the names and flags as JSON, uint8 (characters,)."""
        return torch.tensor(list(json.dumps(self.given).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Checks that a state is of a model that was called so.

        Raises:
            ModelError: It is of one that was called with other arguments.
        """
        if given_of(state) != self.given:
            raise ModelError(
                "the state is of a model quantized with other arguments; load it with pithnet.restore"
            )


def home_of(model: nn.Module, graph: fx.Graph, quantizers: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Makes a place for a graph's quantizers, which tells the arguments it was followed with if need be."""
    given = given_to(graph)
    if given == dict(flat(bound(model))):
        return nn.ModuleDict(dict(quantizers))
    return GivenArguments(quantizers, {name: [] if v is REQUIRED else [v] for name, v in given.items()})


def given_of(state: Tensor) -> dict[str, list[Any]]:
    """Reads the arguments out of an extra state of `GivenArguments`.

    Raises:
        ModelError: The state is no such state.
    """
    try:
        given = json.loads(bytes(state.tolist()))
        if isinstance(given, dict) and all(
            isinstance(value, list) and len(value) < 2 for value in given.values()
        ):
            return given
    except (TypeError, ValueError):
        pass
    raise ModelError("the state does not say with which arguments its activations were quantized")


def example_of(given: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Returns the arguments as `inputs.bound` takes an example."""
    return {name: value[0] if value else REQUIRED for name, value in given.items()}
