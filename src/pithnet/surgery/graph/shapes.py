"""A network's shapes without its numbers: a copy that runs as the network does, on weights of zero."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.surgery.weights.holders import held_tensors
from pithnet.surgery.weights.recurrent import hold_weights_

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


@torch.no_grad()
def weightless(model: nn.Module) -> nn.Module:
    """Makes a copy of the network on the CPU, in eval mode, that has no weights, parametrizations or hooks.

    Every parameter is a zero that is repeated without taking memory, of the parameter's shape; those that
    modules share stay shared, and weights under a parametrization become plain ones. Buffers are copied. The
    model is left alone. Tensors on torch's meta device would do too, but the first use of one imports the
    whole of torch's compiler, which takes a second.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo |= {id(p): _zero(p) for p in module._parameters.values() if p is not None}
        others = [t for t in (*module._buffers.values(), *vars(module).values()) if isinstance(t, Tensor)]
        memo |= {id(t): _zero(t) if t.is_meta else t.detach().cpu().clone() for t in others}
        if isinstance(module, parametrize.ParametrizationList):
            memo |= {id(tensor): _zero(tensor) for tensor in module.state_dict(keep_vars=True).values()}
    replica = copy.deepcopy(model, memo)
    _take_off_parametrizations_(model, replica)
    for module in replica.modules():
        for hooks in _HOOKS:
            getattr(module, hooks).clear()
    return replica.eval()


def _take_off_parametrizations_(model: nn.Module, replica: nn.Module) -> None:
    shapes = [
        (holders, _zero(getattr(holders[0].module, holders[0].tensor)))
        for holders in held_tensors(model)
        if parametrize.is_parametrized(holders[0].module, holders[0].tensor)
    ]
    bare = [module for module in replica.modules() if parametrize.is_parametrized(module)]
    for module in bare:
        module.__class__ = type(module).__bases__[0]  # torch made its class for the parametrization
        del module._modules["parametrizations"]
    for holders, shape in shapes:
        weight = nn.Parameter(shape, requires_grad=False)
        for holder in holders:
            for path in holder.paths:
                setattr(replica.get_submodule(path), holder.tensor, weight)
    for module in bare:
        hold_weights_(module)


def _zero(tensor: Tensor) -> Tensor:
    found = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    return nn.Parameter(found, requires_grad=False) if isinstance(tensor, nn.Parameter) else found
