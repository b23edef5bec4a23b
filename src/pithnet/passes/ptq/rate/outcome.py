"""What rounding found for a network, apart from any copy of it, so that it is written where it is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pithnet.surgery import (
    FakeQuantizer,
    Weighted,
    release,
    set_fake_quantizer,
    set_latent_weight,
    set_mask,
    weighted_layers,
)
from pithnet.tensor.quantizers import Fine, Levels


@dataclass(frozen=True, eq=False)
class Stored:
    """A weight as whole multiples of one scale, or of one for each of its channels.

    Attributes:
        weight: Its values.
        scale: (1,) or (channels,).
        largest: The largest multiple.
        kept: Booleans of its shape, False where weights were pruned before; None for none.
    """

    weight: Tensor
    scale: Tensor
    largest: int
    kept: Tensor | None

    def write(self, layer: Weighted) -> None:
        """Gives the layer these values under a fake quantizer, in place."""
        quantizer = Fine(max(self.largest.bit_length() + 1, 2))
        release(layer)
        if self.kept is not None:
            set_mask(layer, self.kept)
        levels = Levels(self.scale, torch.full_like(self.scale, -(quantizer.count // 2)))
        granularity = "tensor" if len(self.scale) == 1 else "channel"
        set_latent_weight(layer, torch.ones_like(self.weight))  # no zeros: it gets no mask but the one it has
        part = FakeQuantizer(quantizer, granularity, levels=levels, axes=layer.channel_axes)
        set_fake_quantizer(layer, part)
        set_latent_weight(layer, self.weight)


@dataclass
class Outcome:
    """The weights of a network on their levels, and the BNs and biases that go with them.

    Attributes:
        weights: By the names of the layers.
        others: Parameters and buffers that changed too, by their names.
    """

    weights: dict[str, Stored] = field(default_factory=dict)
    others: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def write_(self, model: nn.Module) -> None:
        """Gives a network all of this, in place."""
        layers = dict(weighted_layers(model))
        for name, stored in self.weights.items():
            stored.write(layers[name])
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name, value in self.others.items():
            tensors[name].copy_(value)


def pruned(layer: Weighted) -> Tensor | None:
    """Returns where a weight is not zero, booleans of its shape; None where it is nowhere zero."""
    kept = layer.weight.detach() != 0
    return None if bool(kept.all()) else kept


def changed_tensors(model: nn.Module, before: nn.Module, rounded: set[str]) -> dict[str, Tensor]:
    """Returns the tensors that are others than before, by name, but for the weights that are rounded."""
    weights = {key for name, layer in weighted_layers(model) if name in rounded for key in layer.keys}
    earlier = {**dict(before.named_parameters()), **dict(before.named_buffers())}
    now = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name: value.detach()
        for name, value in now.items()
        if name not in weights and not torch.equal(value, earlier[name])
    }
