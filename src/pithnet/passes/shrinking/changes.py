"""How much the loss of each batch changes without a channel, to first order: gradients times weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pithnet.errors import ModelError
from pithnet.learn import Loss, Objective, call
from pithnet.learn.batch import tensors
from pithnet.learn.losses import check_loss
from pithnet.passes.calibration import batches_of
from pithnet.passes.evidence import require_labels, undisturbed
from pithnet.passes.shrinking.members import Member, each_key
from pithnet.surgery import held_tensors
from pithnet.surgery.wrappers import unwrapped
from pithnet.tensor import ChannelCriterion


def changes(
    model: nn.Module,
    criterion: ChannelCriterion,
    members: Sequence[list[Member]],
    batches: Any,
    loss: Loss | None,
) -> list[list[Tensor]]:
    """Returns the sum over each channel's weights of gradient times weight, in every batch.

    Everything runs on a copy of the network in eval mode, on its device and in float32 at least, as
    `evidence.collect` has it. Gradients are those of the weights that layers compute with, under masks and
    codebooks.

    Args:
        model: The network.
        criterion: What looks at the changes.
        members: Those of each group.
        batches: A loader of whatever `learn.read_batch` reads; it is read once.
        loss: `(outputs, targets) -> scalar`, a mean over samples; the cross-entropy of labels where None.

    Returns:
        For each member float64 (channels, batches). Batches are scaled by the root of their share of the
        samples, so that the mean of the squares gives each batch the weight of its size.

    Raises:
        DataError: There is no batch, or a batch has no labels and there is no `loss`.
        ModelError: No gradient arrives at a weight, or one is NaN or inf; the message names the weight.
    """
    copied = copy.deepcopy(unwrapped(model)).eval()
    objective, sizes, found = Objective(loss=loss), list[int](), list[list[list[Tensor]]]()
    with undisturbed(copied, batches), torch.enable_grad():
        for parameter in copied.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        for number, (inputs, targets) in enumerate(batches_of(copied, batches, "batches")):
            if targets is None:
                require_labels(criterion, loss, number)
            with parametrize.cached():
                value = check_loss(objective(call(copied, inputs), targets, None))
                products = _products(copied, criterion, list(each_key(list(members))), value)
            sizes.append(len(next(tensors(inputs))))
            found.append([[m.rows(products[m.place.key]).sum(1).cpu() for m in own] for own in members])
    weights = torch.tensor([math.sqrt(size * len(sizes) / sum(sizes)) for size in sizes], dtype=torch.float64)
    return [
        [torch.stack([batch[group][place] for batch in found], 1) * weights for place in range(len(own))]
        for group, own in enumerate(members)
    ]


def _products(
    model: nn.Module, criterion: ChannelCriterion, keys: Sequence[str], value: Tensor
) -> dict[str, Tensor]:
    """Returns weight times gradient for each key; a weight of several layers has all their gradients."""
    holders = {held[0].keys[0]: held for held in held_tensors(model)}
    used = {key: [getattr(h.module, h.tensor) for h in holders[key]] for key in keys}
    flat = list({id(tensor): tensor for own in used.values() for tensor in own}.values())
    found: Sequence[Tensor | None] = [None] * len(flat)
    if value.requires_grad:
        found = torch.autograd.grad(value, flat, allow_unused=True)
    gradients = {id(tensor): gradient for tensor, gradient in zip(flat, found, strict=True)}
    products = {}
    for key, own in used.items():
        arrived = [gradients[name] for name in dict.fromkeys(map(id, own))]
        known = [gradient for gradient in arrived if gradient is not None]
        if not known:
            raise ModelError(
                f"criterion {criterion.name!r}: no gradient of the loss arrives at {key}; add its layer to "
                "skip, or choose a criterion that looks at weights alone"
            )
        products[key] = own[0].detach().double() * sum(gradient.double() for gradient in known)
        if not bool(torch.isfinite(products[key]).all()):
            raise ModelError(
                f"criterion {criterion.name!r}: the gradient of {key} holds NaN or inf; look for extreme or "
                "missing values in the batches and the loss"
            )
    return products
