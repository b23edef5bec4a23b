"""The parameters that an optimizer gets: which of them decay, and at which rate shared values learn."""

from __future__ import annotations

from typing import Any

from torch import nn

from pithnet.surgery import shared_parameters


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Returns the trainable parameters for an optimizer, with weight decay on matrices and filters only.

    Biases, BN parameters and codebooks have one dimension; pulling those to zero only costs accuracy. A
    shared value's gradient is a sum over N weights, so its `lr_scale` is 1 / sqrt(N) (the balance of LSQ,
    Esser et al. 2020, section 2.2); `Trainer` multiplies every group's rate by it.

    Args:
        model: any network.
        weight_decay: of the parameters with two or more dimensions.
    """
    shared = {id(p): (p, n) for p, n in shared_parameters(model)}
    params = [p for p in model.parameters() if p.requires_grad and id(p) not in shared]
    decay, rest = [p for p in params if p.ndim > 1], [p for p in params if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    groups += [
        {"params": [p], "weight_decay": 0.0, "lr_scale": max(n, 1.0) ** -0.5} for p, n in shared.values()
    ]
    return [g for g in groups if g["params"]]
