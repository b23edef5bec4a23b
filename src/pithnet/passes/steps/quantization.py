"""The pass `quantize`, of weights."""

from __future__ import annotations

from torch import Tensor, nn

from pithnet.learn import StepSchedule
from pithnet.passes.bit_widths import layer_bits
from pithnet.passes.needs import Given
from pithnet.passes.quantize import WeightScheme, quantize
from pithnet.passes.records import Record
from pithnet.passes.sketch import LayerSketch, Sketch
from pithnet.passes.step import Pass
from pithnet.recipe import Quantize
from pithnet.results import LayerRow
from pithnet.tensor.quantizers import fit_levels, get_quantizer


class Quantization(Pass[Quantize]):
    """Evenly spaced levels; a training in the same step goes straight through the rounding."""

    config = Quantize
    _record: Record | None = None

    def plan(self, sketch: Sketch, given: Given) -> list[LayerRow]:
        s = self.settings
        scheme = WeightScheme(s.quantizer, s.symmetric, s.granularity, s.group_size, s.fit)
        layers = sketch.selected(s, self.name)
        bits = layer_bits([(layer.name, layer.layer) for layer in layers], s.bits, s.overrides)
        for layer in layers:
            width = bits[layer.name]
            if width is not None:
                _quantize(layer, width, scheme)
        return [layer.row() for layer in layers]

    def begin(self, model: nn.Module, given: Given) -> StepSchedule | None:
        self._record = quantize(model, **self.settings.options)
        return None

    def finish(self) -> Record:
        assert self._record is not None
        return self._record


def _quantize(layer: LayerSketch, bits: int, scheme: WeightScheme) -> None:
    """Rounds the sample to the levels that the scheme finds for it."""
    rows, scales = _rows(layer, scheme)
    quantizer = get_quantizer(scheme.quantizer, bits, scheme.symmetric)
    layer.bits, layer.scales = bits, scales
    if not bits:
        layer.counts, layer.rows = rows.new_zeros(0), layer.rows * 0
        return
    levels = fit_levels(quantizer, rows, scheme.fit)
    rounded = quantizer.nearest(rows, levels)
    layer.counts = quantizer.codes(rows, levels)[rounded != 0].unique(return_counts=True)[1]
    layer.rows = rounded


def _rows(layer: LayerSketch, scheme: WeightScheme) -> tuple[Tensor, int]:
    """The sample as the rows that share a scale, and how many scales the whole layer has."""
    rows, outputs = layer.rows, layer.size // max(layer.columns, 1)
    if scheme.granularity == "tensor":
        return rows.reshape(1, -1), 1
    if scheme.granularity == "channel":
        return rows, outputs
    whole = rows[:, : rows.shape[1] // scheme.group_size * scheme.group_size]
    groups = -(-layer.columns // scheme.group_size)
    if not whole.numel():
        return rows, outputs * groups
    return whole.reshape(-1, scheme.group_size), outputs * groups
