"""A whole network rounded without any data, by its weights and what its BNs remember of the training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from pithnet.passes.ptq.rate.matrices import matrix_of
from pithnet.passes.ptq.rate.norms import follow_
from pithnet.passes.ptq.rate.outcome import Outcome, Stored, changed_tensors, pruned
from pithnet.passes.ptq.rate.parts import stored_matrix, stored_rows, weight_part
from pithnet.passes.ptq.rate.rounding import Effort, Part
from pithnet.surgery import Weighted, norms_after_layers, release, weighted_layers


class DataFreeNetwork:
    """A network to be rounded at any price without samples.

    What counts is the sum over layers of the mean noise of a channel, relative to its variance in training
    where a BN remembers it, and else to the weights themselves. Inputs count as noise of one strength.

    Args:
        model: the network, in float32; it is left alone.
        names: the layers to be rounded.
    """

    unit = 1.0
    unread: Sequence[str] = ()

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.plain = copy.deepcopy(model)
        layers = {n: layer for n, layer in weighted_layers(self.plain) if n in names}
        self.kept = {name: pruned(layer) for name, layer in layers.items()}
        norms = norms_after_layers(self.plain)
        self.norms = {name: norms[name] for name in layers if name in norms}
        for layer in layers.values():
            release(layer)

    @torch.no_grad()
    def round_at(self, price: float, effort: Effort, batches: Any = None) -> Outcome:
        """Rounds all layers at a price.

        Args:
            price: what a bit costs, in shares of the variance of a channel.
            effort: how long levels are looked for.
            batches: nothing.
        """
        trial, outcome = copy.deepcopy(self.plain), Outcome()
        for name, layer in weighted_layers(trial):
            if name in self.kept:
                outcome.weights[name] = self._round(trial, name, layer, price, effort)
        outcome.others = changed_tensors(trial, self.plain, set(outcome.weights))
        return outcome

    def _round(self, trial: nn.Module, name: str, layer: Weighted, price: float, effort: Effort) -> Stored:
        weight, kept = layer.weight.detach(), self.kept[name]
        module: Any = layer.holders[0].module
        matrix = matrix_of(module)
        if name not in self.norms or matrix is None:
            size = weight.numel() / max(int(weight.count_nonzero()), 1)
            noise = size / float(weight.square().sum().clamp(min=1e-30))
            part = weight_part(layer, torch.full_like(weight, noise), kept)
            scales = "none" if isinstance(module, _ConvTransposeNd) else "stored"
            steps = part.steps(price, scales)
            return stored_rows(layer, part.levels(steps, price, effort), steps, kept)
        norm = trial.get_submodule(self.norms[name])
        assert isinstance(norm, _BatchNorm)
        whole = matrix.matrix(weight)
        rows = whole.flatten(0, 1)
        part = Part(
            rows,
            torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device),
            _noise(norm, rows),
            matrix.neighbours(),
            None if kept is None else matrix.matrix(kept).flatten(0, 1),
        )
        steps = part.steps(price, "free")
        levels = part.levels(steps, price, effort).view_as(whole)
        stored, scale = stored_matrix(matrix, levels, steps.view(whole.shape[:2]), "free", kept)
        module.weight.copy_(stored.weight)
        bias = torch.zeros_like(scale) if module.bias is None else module.bias.clone()
        follow_(norm, scale, bias, torch.zeros_like(scale))
        if module.bias is not None:
            module.bias.zero_()
        return stored


def _noise(norm: _BatchNorm, rows: Tensor) -> Tensor:
    """Returns what a squared error of a weight costs in each row, (C,): its share of a channel's variance.

    Channels that the BN makes larger count for more. The strength of the inputs is taken from the variances
    that the weights made of them.
    """
    assert norm.running_var is not None
    variance = norm.running_var + norm.eps
    strength = (variance / rows.square().sum(1).clamp(min=1e-30)).median()
    factor = torch.ones_like(variance) if norm.weight is None else norm.weight.detach().square()
    shares = factor / factor.mean().clamp(min=1e-30) + 1e-3
    return 2 * strength * shares / variance / len(rows)
