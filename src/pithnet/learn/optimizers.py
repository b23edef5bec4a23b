"""The optimizer of a training: which parameters decay, and at which rate shared values learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pithnet.errors import ModelError, RecipeError, lookup
from pithnet.surgery import shared_parameters
from pithnet.training import Train

_BETA2 = 0.999


def parameter_groups(model: nn.Module, weight_decay: float, scaled: bool = True) -> list[dict[str, Any]]:
    """Groups trainable parameters for an optimizer: weight decay acts on matrices and filters only.

    Biases, BN parameters and codebooks have one dimension; pulling those to zero only costs accuracy. A
    shared value's gradient is a sum over N weights, so its `lr_scale` is 1 / sqrt(N) (the balance of LSQ,
    Esser et al. 2020, section 2.2); `Trainer` multiplies every group's rate by it.

    Args:
        model: The network; frozen parameters are left out.
        weight_decay: The decay of parameters with two dimensions or more.
        scaled: Whether shared values get an `lr_scale`. An optimizer that divides by the gradient's size,
            such as AdamW, needs none.

    Returns:
        Groups as torch's optimizers take them, none of them empty.
    """
    shared = {id(p): (p, n) for p, n in shared_parameters(model)}
    params = [p for p in model.parameters() if p.requires_grad and id(p) not in shared]
    decay, rest = [p for p in params if p.ndim > 1], [p for p in params if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    groups += [
        {"params": [p], "weight_decay": 0.0, "lr_scale": max(n, 1.0) ** -0.5 if scaled else 1.0}
        for p, n in shared.values()
    ]
    return [g for g in groups if g["params"]]


def _sgd(model: nn.Module, training: Train) -> Optimizer:
    """SGD with Nesterov's momentum."""
    groups = parameter_groups(model, training.weight_decay)
    return torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum, nesterov=training.momentum > 0)


def _adamw(model: nn.Module, training: Train) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019); the momentum is its beta_1."""
    groups = parameter_groups(model, training.weight_decay, scaled=False)
    return torch.optim.AdamW(groups, lr=training.lr, betas=(training.momentum, _BETA2))


OPTIMIZERS: dict[str, Callable[[nn.Module, Train], Optimizer]] = {"sgd": _sgd, "adamw": _adamw}


def make_optimizer(model: nn.Module, training: Train) -> Optimizer:
    """Makes the optimizer that the training names, over the model's trainable parameters.

    Args:
        model: The network; frozen parameters are left out.
        training: The description of the training: optimizer, rate, momentum and weight decay.

    Raises:
        RecipeError: The name is none of `OPTIMIZERS`.
        ModelError: No parameter of the model is trainable.
    """
    make = lookup("optimizer", training.optimizer, OPTIMIZERS, RecipeError)
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError(
            "the network has no trainable parameter: set requires_grad on those that are to learn, or leave "
            "the training out"
        )
    return make(model, training)
