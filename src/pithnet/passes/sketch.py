"""What a plan knows of a network: samples of its weights, changed as the passes to come would change them.

A plan neither copies the network nor runs a pass on it, so it takes about a second whatever the size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pithnet.passes.layers import selected_layers
from pithnet.recipe import PassSettings
from pithnet.results import LayerRow
from pithnet.surgery import (
    Codebook,
    TrainedLevels,
    Weighted,
    fake_quantizer,
    parametrization,
    unquantized_weight,
    weighted_layers,
)
from pithnet.tensor import keep_mask

MOST = 1 << 15  # weights of a layer that are looked at


@dataclass(eq=False)
class LayerSketch:
    """One layer as it will be.

    Attributes:
        name: The layer's name in the network.
        layer: The layer as it is now.
        rows: (R, M), floats: weights of R of its outputs. The whole weight where it has at most `MOST`
            weights, else a sample on an even grid.
        counts: The weights of each level, among the sample's; None while weights are floats.
        bits: The bits of a quantizer's code, None without one.
        scales: How many scales a quantizer keeps for the whole layer.
        passes: The passes that touch the layer, by name and in order.
        is_covered: Whether one of them puts it under a mask, a codebook or a quantizer.
    """

    name: str
    layer: Weighted
    rows: Tensor
    counts: Tensor | None = None
    bits: int | None = None
    scales: int = 0
    passes: list[str] = field(default_factory=list)
    is_covered: bool = False

    @property
    def size(self) -> int:
        """The number of weights of the layer."""
        return self.layer.weight.numel()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the layer's weight."""
        return tuple(self.layer.weight.shape)

    @property
    def columns(self) -> int:
        """How many weights of the layer an output has."""
        outputs = math.prod(self.shape[axis] for axis in self.layer.channel_axes)
        return self.size // max(outputs, 1)

    @property
    def stands_for(self) -> float:
        """How many weights of the layer one of the sample stands for."""
        return self.size / max(self.rows.numel(), 1)

    @property
    def zeros(self) -> int:
        """The zeros to expect in the whole layer."""
        return round(int((self.rows == 0).sum()) * self.stands_for)

    @property
    def levels(self) -> int | None:
        """The number of distinct non-zero values, None while weights are floats."""
        return None if self.counts is None else int((self.counts > 0).sum())

    def cut(self, kept: Tensor) -> None:
        """Makes the sample's weights zero that are not kept; `kept` is bool (R, M)."""
        self.rows = torch.where(kept, self.rows, 0.0)

    def row(self, outputs: int | None = None) -> LayerRow:
        """Returns the layer as a row of a plan, with the number of its outputs where some are gone."""
        return LayerRow(self.name, self.size, self.zeros, self.levels, bits=self.bits, outputs=outputs)


class Sketch:
    """The layers of a network, for passes to plan on; the network itself is never changed.

    Args:
        model: The network as it is. After a pass that removes channels the attribute is the smaller one.
        also: The `also` patterns of all the passes to come.
    """

    def __init__(self, model: nn.Module, also: Sequence[str] = ()) -> None:
        self.model, self._patterns = model, also
        self.layers = [sketched(name, layer) for name, layer in weighted_layers(model, also)]
        self._also = list[str]()  # of the passes so far: what one compressed, later ones take too

    def selected(self, settings: PassSettings, name: str) -> list[LayerSketch]:
        """Returns the layers that the pass called `name` will work on, and notes that it touches them.

        Args:
            settings: What the pass is told; its `also` counts for later passes too.
            name: The name of the pass.

        Raises:
            RecipeError: A pattern matches nothing.
            ModelError: A layer cannot be compressed, as `selected_layers` says.
        """
        self._also += settings.also
        chosen = {key for key, _ in selected_layers(self.model, settings.skip, self._also)}
        found = [layer for layer in self.layers if layer.name in chosen]
        for layer in found:
            layer.passes.append(name)
            layer.is_covered = True
        return found

    def of(self, smaller: nn.Module) -> Sketch:
        """Returns the sketch of a copy of the network without some channels; passes count as planned.

        Args:
            smaller: The copy, whose layers keep the share of zeros that they have here.
        """
        found, before = Sketch(smaller, self._patterns), {layer.name: layer for layer in self.layers}
        for layer in found.layers:
            old = before[layer.name]
            zeros = round(layer.rows.numel() * old.zeros / max(old.size, 1))
            layer.cut(keep_mask(layer.rows.abs(), zeros))
            layer.passes, layer.is_covered = list(old.passes), old.is_covered
        found._also = list(self._also)
        return found

    def go_on_with(self, smaller: nn.Module, name: str) -> None:
        """Takes a copy of the network without some channels in its place, as a pass would leave it.

        Args:
            smaller: The network that later passes work on.
            name: The name of the pass that makes it.
        """
        shapes = {layer.name: layer.shape for layer in self.layers}
        self.model, self.layers = smaller, self.of(smaller).layers
        for layer in self.layers:
            if layer.shape != shapes[layer.name]:
                layer.passes.append(name)


def sketched(name: str, layer: Weighted) -> LayerSketch:
    """Samples a layer as it is, with the masks, codebooks and quantizers that it has."""
    sketch = LayerSketch(name, layer, sampled_rows(layer.weight.detach(), layer.channel_axes))
    part = fake_quantizer(layer)
    if part is not None:
        sketch.bits = part.quantizer.bits
        sketch.counts = part.used_codes(unquantized_weight(layer)).unique(return_counts=True)[1].cpu()
        sketch.scales = len(part.rows(layer.weight.detach()))
    elif parametrization(layer, Codebook) or parametrization(layer, TrainedLevels):
        sketch.counts = layer.weight.detach()[layer.weight != 0].unique(return_counts=True)[1].cpu()
    return sketch


def sampled_rows(weight: Tensor, axes: Sequence[int]) -> Tensor:
    """Returns at most about `MOST` weights of a tensor, on an even grid, as rows of its outputs.

    Args:
        weight: The whole weight, of any shape.
        axes: The axes along which its outputs lie.

    Returns:
        (R, M), on the CPU: R outputs with M weights of each.
    """
    rows = weight.movedim(tuple(axes), tuple(range(len(axes)))).flatten(0, len(axes) - 1)
    rows = rows.reshape(len(rows), -1) if rows.ndim > 1 else rows[:, None]
    if rows.numel() <= MOST:
        return rows.cpu()
    height = max(1, -(-len(rows) * 128 // MOST))  # a row of 128 weights shows its spread
    rows = rows[::height]
    return rows[:, :: max(1, -(-rows.numel() // MOST))].cpu()
