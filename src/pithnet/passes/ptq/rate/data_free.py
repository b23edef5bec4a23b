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
from pithnet.passes.ptq.rate.sketches import Sketch
from pithnet.surgery import Weighted, norms_after_layers, release, weighted_layers


class DataFreeNetwork:
    """A network to be rounded at any price without samples.

    What counts is the sum over layers of the mean noise of a channel, relative to its variance in training
    where a BN remembers it, and else to the weights themselves. Inputs count as noise of one strength.

    Args:
        model: The network, in float32; it is left alone.
        names: The layers to be rounded.
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
    def sketches(self) -> list[Sketch]:
        """Returns what guesses the bits at a price."""
        layers = [(n, layer) for n, layer in weighted_layers(self.plain) if n in self.kept]
        return [
            self._part(self.plain, name, layer).sketch(self._scales(name, layer)) for name, layer in layers
        ]

    @torch.no_grad()
    def round_at(self, price: float, effort: Effort) -> Outcome:
        """Rounds all layers at a price.

        Args:
            price: What a bit costs, in shares of the variance of a channel.
            effort: How long levels are looked for.
        """
        trial, outcome = copy.deepcopy(self.plain), Outcome()
        for name, layer in weighted_layers(trial):
            if name in self.kept:
                part, scales = self._part(trial, name, layer), self._scales(name, layer)
                steps = part.steps(price, scales)
                levels = part.levels(steps, price, effort)
                outcome.weights[name] = self._stored(trial, name, layer, levels, steps)
        outcome.others = changed_tensors(trial, self.plain, set(outcome.weights))
        return outcome

    def _is_followed(self, name: str, layer: Weighted) -> bool:
        return name in self.norms and matrix_of(layer.holders[0].module) is not None

    def _scales(self, name: str, layer: Weighted) -> str:
        if self._is_followed(name, layer):
            return "free"
        return "none" if isinstance(layer.holders[0].module, _ConvTransposeNd) else "stored"

    def _part(self, model: nn.Module, name: str, layer: Weighted) -> Part:
        weight, kept = layer.weight.detach(), self.kept[name]
        if not self._is_followed(name, layer):
            size = weight.numel() / max(int(weight.count_nonzero()), 1)
            noise = size / float(weight.square().sum().clamp(min=1e-30))
            return weight_part(layer, torch.full_like(weight, noise), kept)
        matrix = matrix_of(layer.holders[0].module)
        norm = model.get_submodule(self.norms[name])
        assert matrix is not None
        assert isinstance(norm, _BatchNorm)
        rows = matrix.matrix(weight).flatten(0, 1)
        return Part(
            rows,
            torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device),
            _noise(norm, rows),
            matrix.neighbours(),
            None if kept is None else matrix.matrix(kept).flatten(0, 1),
        )

    def _stored(self, trial: nn.Module, name: str, layer: Weighted, levels: Tensor, steps: Tensor) -> Stored:
        """Gives a layer of the trial its levels, in place, and the BN behind it the rows' sizes."""
        kept = self.kept[name]
        if not self._is_followed(name, layer):
            return stored_rows(layer, levels, steps, kept)
        module: Any = layer.holders[0].module
        matrix, norm = matrix_of(module), trial.get_submodule(self.norms[name])
        assert matrix is not None
        assert isinstance(norm, _BatchNorm)
        shape = matrix.matrix(layer.weight.detach()).shape
        stored, scale = stored_matrix(matrix, levels.view(shape), steps.view(shape[:2]), "free", kept)
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
