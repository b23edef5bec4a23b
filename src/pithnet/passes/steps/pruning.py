"""The pass `prune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pithnet.learn import StepSchedule
from pithnet.passes.gradual_pruning import GradualPruning
from pithnet.passes.granularities import NofM, axes_of, get_granularity
from pithnet.passes.needs import Given, Need
from pithnet.passes.prune import layer_shares, prune, prune_by_std
from pithnet.passes.records import Record
from pithnet.passes.scopes import SCOPES
from pithnet.passes.sketch import LayerSketch, Sketch
from pithnet.passes.step import Pass
from pithnet.passes.steps.order import refuse_after_coding
from pithnet.recipe import Prune
from pithnet.results import LayerRow
from pithnet.tensor import (
    CRITERIA,
    Evidence,
    erk,
    get_criterion,
    keep_mask,
    n_of_m_mask,
    std_threshold,
    uniform,
)

# The dimensions of a sketch's rows that a group covers; a kernel's weights are scored one by one.
_SPANS = {"filter": 1, "row": 1, "neuron": 1, "channel": 0}


class Pruning(Pass[Prune]):
    """Zeros, by a score of each weight or group: at once, or on a ramp while a training runs."""

    config = Prune
    _record: Record | None = None
    _ramp: GradualPruning | None = None

    @property
    def needs(self) -> frozenset[Need]:
        """What the criterion looks at beside the weights."""
        rank = get_criterion(self.settings.criterion)
        asked = {Need.BATCHES: rank.needs_batches, Need.LABELS: rank.needs_labels}
        return frozenset(need for need, wanted in asked.items() if wanted)

    def plan(self, sketch: Sketch, given: Given) -> list[LayerRow]:
        s = self.settings
        unit, rank = get_granularity(s.granularity), get_criterion(s.criterion)
        layers = sketch.selected(s, self.name)
        refuse_after_coding(layers, f"{self.name} {s.title}")
        if s.std is not None:
            for layer in layers:
                layer.cut(layer.rows.abs() > std_threshold(layer.rows, s.std))
            return [layer.row() for layer in layers]
        own = layer_shares([(layer.name, layer.layer) for layer in layers], s.overrides, unit)
        # What a criterion will see of the data is not known yet; magnitudes stand in for it.
        seen = CRITERIA["magnitude"] if rank.needs_batches else rank
        generator = given.generator
        scores = [seen(Evidence(layer.rows, generator=generator)) for layer in layers]
        scores = [torch.where(m.rows != 0, score, -1.0) for m, score in zip(layers, scores, strict=True)]
        if isinstance(unit, NofM):
            for layer, score in zip(layers, scores, strict=True):
                layer.cut(_n_of_m(layer, score, unit))
        else:
            grouped = [_grouped(score, s.granularity) for score in scores]
            _cut_by_amounts(layers, grouped, unit.amount(s.sparsity), s.scope, own)
        return [layer.row() for layer in layers]

    def begin(self, model: nn.Module, given: Given) -> StepSchedule | None:
        if self.settings.ramp:
            return self.resume(model, given)
        if self.settings.std is not None:
            self._record = prune_by_std(model, **self.settings.options)
        else:
            data = _data(given) if self.needs else {}
            self._record = prune(model, generator=given.generator, **self.settings.options, **data)
        return None

    def resume(self, model: nn.Module, given: Given) -> StepSchedule | None:
        if self.settings.ramp:
            data = _data(given) if self.needs else {}
            self._ramp = GradualPruning(model, seed=given.seed, **self.settings.ramp_options, **data)
        return self._ramp

    def finish(self) -> Record:
        record = self._record if self._ramp is None else self._ramp.record
        assert record is not None
        return record


def _n_of_m(layer: LayerSketch, score: Tensor, unit: NofM) -> Tensor:
    """The mask of N of every M inputs; a sample has no neighbours, and keeps as many of any M."""
    inputs = layer.shape[axes_of(layer.layer, "channels")[-1]]
    if inputs <= unit.n:
        return torch.ones_like(score, dtype=torch.bool)
    if score.shape[1] != layer.columns or layer.columns % inputs:
        return n_of_m_mask(score, unit.n, unit.m, 1)
    return n_of_m_mask(score.view(len(score), inputs, -1), unit.n, unit.m, 1).flatten(1)


def _data(given: Given) -> dict[str, Any]:
    """What a criterion that looks at data is given."""
    return {"batches": given.batches, "loss": given.loss}


def _grouped(scores: Tensor, granularity: str) -> Tensor:
    """The scores of a sketch (R, M) with each group's mean in the place of its members'."""
    span = _SPANS.get(granularity)
    return scores if span is None else scores.double().mean(span, keepdim=True).expand_as(scores)


def _cut_by_amounts(
    layers: Sequence[LayerSketch],
    scores: Sequence[Tensor],
    sparsity: float,
    scope: str,
    own: Mapping[str, float | None],
) -> None:
    """Cuts layers with a share of their own by themselves, and the others as the scope has it."""
    pairs = list(zip(layers, scores, strict=True))
    for layer, score in pairs:
        share = own[layer.name]
        if share is not None:
            cut([layer], [score], share, "uniform")
    rest = [(layer, score) for layer, score in pairs if own[layer.name] is None]
    if rest:
        cut([layer for layer, _ in rest], [score for _, score in rest], sparsity, scope)


def cut(layers: Sequence[LayerSketch], scores: Sequence[Tensor], sparsity: float, scope: str) -> None:
    """Makes the lowest scores of the sketches zero, as the scope of `prune` spreads them over the layers.

    Args:
        layers: The sketches, changed in place.
        scores: For each layer (R, M), as its rows.
        sparsity: The share of zeros of all the layers' weights, in [0, 1].
        scope: A name in `SCOPES`.
    """
    if scope == "global":
        masks = _global(layers, scores, sparsity)
    else:
        sizes = [layer.size for layer in layers]
        counts = uniform(sizes, sparsity) if scope == "uniform" else erk([m.shape for m in layers], sparsity)
        asked = [round(count / layer.stands_for) for count, layer in zip(counts, layers, strict=True)]
        masks = [keep_mask(score, zeros) for score, zeros in zip(scores, asked, strict=True)]
    for layer, mask in zip(layers, masks, strict=True):
        layer.cut(mask)


def _global(layers: Sequence[LayerSketch], scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """One ranking over all layers, in which a sample's score counts as many weights as it stands for."""
    if all(layer.stands_for == 1 for layer in layers):
        return SCOPES["global"](scores, sparsity)
    every = torch.cat([score.flatten() for score in scores])
    counted = torch.cat([torch.full((m.rows.numel(),), m.stands_for) for m in layers])
    order = every.argsort()
    below = counted[order].cumsum(0) <= sparsity * sum(layer.size for layer in layers)
    kept = torch.ones_like(every, dtype=torch.bool)
    kept[order[below]] = False
    parts = kept.split([score.numel() for score in scores])
    return [part.view(score.shape) for part, score in zip(parts, scores, strict=True)]
