"""Quantizers of activations back into a plain network, as a state_dict has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pithnet.errors import ModelError
from pithnet.surgery.graph.activation_quantizers import (
    ActivationQuantizer,
    LearnedClip,
    is_activation_state,
    quantizer_from_state,
)
from pithnet.surgery.graph.given_arguments import STATE, example_of, given_of
from pithnet.surgery.graph.inputs import REQUIRED
from pithnet.surgery.graph.insertion import (
    HOME,
    reinsert_activation_quantizers_,
    remove_activation_quantizers_,
)

_Quantizers = dict[str, ActivationQuantizer | LearnedClip]


def has_quantized_activations(state: Mapping[str, Tensor]) -> bool:
    """Tells whether a state_dict is of a model whose activations are quantized."""
    return bool(_networks(state))


@torch.no_grad()
def rebuild_activations_(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Gives the model, in place, the quantizers of activations that the state has, and only those.

    Where there are any, BNs of which the state has nothing become nn.Identity, and layers get the biases that
    it has for them.

    Raises:
        ModelError: The model lacks what a quantizer followed.
    """
    for module in [m for m in model.modules() if HOME in m._modules]:
        remove_activation_quantizers_(module)
    for path, quantizers in _networks(state).items():
        try:
            network = model.get_submodule(path)
        except AttributeError:
            raise ModelError(
                f"the state has quantized activations in {path}, the model no such part"
            ) from None
        _fold_alike(network, path, state)
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        for quantizer in quantizers.values():
            quantizer.to(device)
        told = state.get(f"{path}.{HOME}.{STATE}" if path else f"{HOME}.{STATE}")
        given = REQUIRED if told is None else example_of(given_of(told))
        reinsert_activation_quantizers_(network, quantizers, given)


def _networks(state: Mapping[str, Tensor]) -> dict[str, _Quantizers]:
    """The quantizers of each network, by what they follow, in the order of the state."""
    found: dict[str, _Quantizers] = {}
    for key, value in state.items():
        match = re.fullmatch(rf"((?:.*\.)?){HOME}\.(\w+)\._extra_state", key)
        if match and is_activation_state(value):
            start = key.removesuffix("_extra_state")
            own = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
            network = found.setdefault(match[1].removesuffix("."), {})
            network[match[2]] = quantizer_from_state(match[2], own)
    return found


def _fold_alike(network: nn.Module, path: str, state: Mapping[str, Tensor]) -> None:
    prefix = f"{path}." if path else ""
    for name, module in list(network.named_modules()):
        key = f"{prefix}{name}"
        if isinstance(module, _BatchNorm):
            own = [k for k in module.state_dict() if f"{key}.{k}" in state]
            if name and module.state_dict() and not own:
                network.set_submodule(name, nn.Identity())
        elif "bias" in module._parameters and module.bias is None and f"{key}.bias" in state:
            _add_bias(module, state[f"{key}.bias"])


def _add_bias(layer: Any, bias: Tensor) -> None:
    weight = layer.weight
    trains = any(p.requires_grad for p in layer.parameters())
    layer.bias = nn.Parameter(torch.zeros_like(bias, dtype=weight.dtype, device=weight.device), trains)
