"""The pass `share`."""

from __future__ import annotations

import torch
from torch import nn

from pithnet.learn import StepSchedule
from pithnet.passes.level_training import LevelTraining, freeze_levels
from pithnet.passes.needs import Given
from pithnet.passes.records import Record
from pithnet.passes.share import cluster, layer_levels, share
from pithnet.passes.sketch import LayerSketch, Sketch
from pithnet.passes.step import Pass
from pithnet.recipe import Share
from pithnet.results import LayerRow


class Sharing(Pass[Share]):
    """Few values per layer: clustered at once, or with levels that train along and then freeze."""

    config = Share
    _record: Record | None = None
    _model: nn.Module | None = None

    def plan(self, sketch: Sketch, given: Given) -> list[LayerRow]:
        s = self.settings
        layers, generator = sketch.selected(s, self.name), given.generator
        named = [(layer.name, layer.layer) for layer in layers]
        levels = layer_levels(named, s.bits, s.levels, s.overrides, s.init, s.rate_weight)
        for layer in layers:
            _share(layer, levels[layer.name], s, generator)
        return [layer.row() for layer in layers]

    def begin(self, model: nn.Module, given: Given) -> StepSchedule | None:
        if self.settings.trained:
            return self.resume(model, given)
        self._record = share(model, generator=given.generator, **self.settings.options)
        return None

    def resume(self, model: nn.Module, given: Given) -> StepSchedule | None:
        if not self.settings.trained:
            return None
        self._model = model
        return LevelTraining(model, generator=given.generator, **self.settings.options)

    def finish(self) -> Record:
        if self._record is not None:
            return self._record
        assert self._model is not None
        return freeze_levels(self._model)


def _share(layer: LayerSketch, levels: int, settings: Share, generator: torch.Generator) -> None:
    """Clusters the sample's non-zero weights, and rounds them to their centroids."""
    found = cluster(layer.rows, levels, settings.init, settings.rate_weight, generator)
    layer.bits, layer.scales, layer.counts = None, 0, layer.rows.new_zeros(0)
    if found is not None:
        layer.counts = found.assignment.bincount(minlength=len(found.centroids))
        values = layer.rows.clone()
        values[layer.rows != 0] = found.centroids[found.assignment].to(values.dtype)
        layer.rows = values
