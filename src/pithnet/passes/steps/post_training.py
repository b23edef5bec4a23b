"""The pass `post_training`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pithnet.learn import StepSchedule, read_batch
from pithnet.passes.file_size import file_bytes
from pithnet.passes.needs import Given, Need
from pithnet.passes.ptq.label_free import quantize_without_labels
from pithnet.passes.ptq.priced_levels import PricedLevels
from pithnet.passes.ptq.rate.amounts import whole_bytes
from pithnet.passes.ptq.rate.round_to_budget import require_enough
from pithnet.passes.records import Record
from pithnet.passes.sketch import LayerSketch, Sketch
from pithnet.passes.step import Pass
from pithnet.recipe import PostTraining
from pithnet.results import LayerRow
from pithnet.surgery.graph.inputs import tensors_as

_HALVINGS = 30
_OTHER_BYTES = 2  # of a number that is no weight of a layer


class PostTrainingQuantization(Pass[PostTraining]):
    """Levels that cost least in bits and in errors of the outputs, found on images without labels."""

    config = PostTraining
    _record: Record | None = None
    _work: PricedLevels | None = None

    @property
    def needs(self) -> frozenset[Need]:
        """Images, where any are asked for, and what the file takes."""
        images = {Need.BATCHES} if self.settings.calibrate else set()
        return frozenset(images | {Need.WEIGH})

    def plan(self, sketch: Sketch, given: Given) -> list[LayerRow]:
        layers = sketch.selected(self.settings, self.name)
        rate = self.settings.rate
        if rate is None:
            rate = self._bits_left(sketch, layers)
            names = [layer.name for layer in layers]
            require_enough(sketch.model, names, self._whole(sketch), file_bytes, "bytes")
        low, high = 1e-3, 1e3  # the step, in standard deviations of a layer's weights
        for _ in range(_HALVINGS):
            step = (low * high) ** 0.5
            low, high = (step, high) if _bits(layers, step) > rate else (low, step)
        for layer in layers:
            layer.rows = _rounded(layer, high)
            layer.counts = layer.rows[layer.rows != 0].unique(return_counts=True)[1]
        return [layer.row() for layer in layers]

    def _bits_left(self, sketch: Sketch, layers: list[LayerSketch]) -> float:
        """The bits of the budget that are left for a weight."""
        weights = sum(layer.size for layer in layers)
        others = _OTHER_BYTES * max(sum(t.numel() for t in sketch.model.parameters()) - weights, 0)
        return max(8 * (self._whole(sketch) - others) / max(weights, 1), 0.0)

    def _whole(self, sketch: Sketch) -> float:
        """The budget of bytes."""
        assert self.settings.bytes is not None
        return whole_bytes(self.settings.bytes, sketch.model)

    def begin(self, model: nn.Module, given: Given) -> StepSchedule | None:
        count = self.settings.calibrate
        device = next((p.device for p in model.parameters()), None)
        images = None if not count else first_samples(given.plain_batches, count, device)
        assert given.weigh is not None
        self._record = quantize_without_labels(
            model, calibrate=images, **self.settings.options, seed=given.seed, weigh=given.weigh
        )
        return self.resume(model, given)

    def resume(self, model: nn.Module, given: Given) -> StepSchedule | None:
        if not self.settings.trained:
            return None
        assert given.weigh is not None
        self._work = PricedLevels(model, **self.settings.training_options, weigh=given.weigh)
        return self._work

    def finish(self) -> Record:
        if self._work is not None:
            trained = self._work.finish()
            return replace(trained, what=f"quantize without labels, then {trained.what}")
        assert self._record is not None
        return self._record


def first_samples(batches: Iterable[Any], count: int, device: torch.device | None = None) -> list[Any]:
    """Returns the inputs of the first samples of a loader, batch by batch; labels are not read.

    Args:
        batches: A loader, as `learn.read_batch` takes its batches.
        count: How many samples; of a shorter loader all are taken.
        device: Where they are wanted, None for where they are.
    """
    found = list[Any]()
    for content in batches:
        batch = read_batch(content, device)
        left = min(count, batch.size)
        found.append(tensors_as(batch.inputs, lambda t, left=left: t[:left] if t.ndim else t))  # type: ignore
        count -= left
        if not count:
            break
    return found


def _rounded(layer: LayerSketch, step: float) -> torch.Tensor:
    size = step * float(layer.rows.float().pow(2).mean().sqrt())
    return layer.rows if size == 0 else (layer.rows / size).round() * size


def _bits(layers: list[LayerSketch], step: float) -> float:
    """The entropy of the rounded weights, in bits a weight."""
    bits = 0.0
    for layer in layers:
        shares = _rounded(layer, step).unique(return_counts=True)[1].double()
        shares /= max(float(shares.sum()), 1.0)
        bits -= layer.size * float((shares * shares.log2()).sum())
    return bits / max(sum(layer.size for layer in layers), 1)
