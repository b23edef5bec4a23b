"""One weight on evenly spaced levels: in units of its steps, as the matrix whose contexts a coder sees."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pithnet.passes.ptq.rate.matrices import Matrix, matrix_of
from pithnet.surgery import FakeQuantizer, Mask, Weighted, latent_weight, parametrization, weighted_layers
from pithnet.tensor.quantizers import Fine, Levels, from_rows, to_rows
from pithnet.tensor.rate_distortion.contexts import Neighbours, Rates

_SPREAD = 0.5  # of a level
_MOST = Fine(Fine.most_bits)  # while it trains, a weight may move to any level that a file holds


class PricedWeight:
    """A weight that is rounded to whole multiples of its steps, and what its levels cost.

    Args:
        name: The layer's.
        layer: The weight, with a fake quantizer whose steps are fixed.
        part: That fake quantizer.
    """

    def __init__(self, name: str, layer: Weighted, part: FakeQuantizer) -> None:
        self.name, self.layer, self.part = name, layer, part
        self.mask = parametrization(layer, Mask)
        self._matrix = _matrix(layer)
        self.neighbours = _within_rows(layer) if self._matrix is None else self._matrix.neighbours()
        self.allow(_MOST)

    @property
    def parameter(self) -> nn.Parameter:
        """The tensor that trains."""
        found = latent_weight(self.layer)
        assert isinstance(found, nn.Parameter)
        return found

    @property
    def trains(self) -> bool:
        """Whether an optimizer may change it."""
        return self.parameter.requires_grad

    @property
    def step(self) -> float:
        """The mean distance of two levels."""
        assert self.part.scale is not None
        return float(self.part.scale.mean())

    def allow(self, quantizer: Fine) -> None:
        """Lets the weight take the levels of this quantizer, whose steps are the same."""
        assert self.part.scale is not None
        self.part.quantizer = quantizer
        offset = torch.full_like(self.part.scale, -(quantizer.count // 2))
        self.part.fix(Levels(self.part.scale, offset))

    @torch.no_grad()
    def scaled(self) -> Tensor:
        """Returns the weight in units of its steps, before it is rounded, (O, K)."""
        latent = self.parameter.detach()
        if self.mask is not None:
            latent = torch.where(self.mask.mask, latent, 0.0)
        assert self.part.scale is not None
        most = _MOST.count // 2
        return self._rows(self._times(latent, 1 / self.part.scale)).clamp(-most, most)

    @torch.no_grad()
    def unscaled(self, values: Tensor) -> Tensor:
        """Returns numbers (O, K) in units of the steps as the weight has them."""
        assert self.part.scale is not None
        return self._times(self._as_weight(values), self.part.scale)

    def per_step(self, slopes: Tensor) -> Tensor:
        """Returns gradients by levels (O, K) as those by the weight; none where it is masked."""
        assert self.part.scale is not None
        found = self._as_weight(slopes)
        found = found if self.mask is None else torch.where(self.mask.mask, found, 0.0)
        return self._times(found, 1 / self.part.scale)

    def per_level(self, gradient: Tensor) -> Tensor:
        """Returns gradients by the weight as those by its levels, of the weight's shape."""
        assert self.part.scale is not None
        return self._times(gradient, self.part.scale)

    def rates(self, levels: Tensor) -> Rates:
        """Returns the bits of levels that are as frequent as these, int64 (O, K), and of larger ones."""
        return Rates.of(levels, self.neighbours, min(int(levels.abs().max()) + 2, _MOST.count // 2))

    def write(self, levels: Tensor) -> None:
        """Puts the weight where it is so many steps, (O, K), from zero, in place."""
        self.parameter.detach().copy_(self.unscaled(levels))

    def spread(self, seed: int) -> None:
        """Puts the weight, which stands on its levels, at random within the middle halves of them, in place.

        From the middle of its level every weight would be as far from the next one, and the first steps of an
        adaptive optimizer are of one size: many would change level in the same step.
        """
        levels = self.scaled().round()
        noise = torch.rand(levels.shape, generator=torch.Generator().manual_seed(seed)) - 0.5
        self.write(levels + _SPREAD * noise.to(levels))

    def settle(self) -> None:
        """Leaves only the levels that the weight has, or may have by the same number of bits."""
        largest = int(self.scaled().round().abs().max())
        self.allow(Fine(max(largest.bit_length() + 1, 2)))

    def _as_weight(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.parameter.dtype)
        if self._matrix is None:
            return from_rows(rows, self.parameter, self.layer.channel_axes)
        return self._matrix.weight(rows.view(self._matrix.groups, -1, rows.shape[1]))

    def _times(self, weight: Tensor, factor: Tensor) -> Tensor:
        return self.part.from_rows(self.part.rows(weight) * factor[:, None], weight)

    def _rows(self, weight: Tensor) -> Tensor:
        if self._matrix is None:  # rows are channels here, however many of them share a step
            return to_rows(weight, "channel", axes=self.layer.channel_axes)
        return self._matrix.matrix(weight).flatten(0, 1)


def priced_weights(model: nn.Module) -> list[PricedWeight]:
    """Returns the weights of a network that rate-aware rounding has put on levels."""
    found = []
    for name, layer in weighted_layers(model):
        part = parametrization(layer, FakeQuantizer)
        if part is not None and isinstance(part.quantizer, Fine) and part.scale is not None:
            found.append(PricedWeight(name, layer, part))
    return found


def _matrix(layer: Weighted) -> Matrix | None:
    holder = layer.holders[0]
    return matrix_of(holder.module) if holder.tensor == "weight" else None


def _within_rows(layer: Weighted) -> Neighbours:
    weight, axes = latent_weight(layer), layer.channel_axes
    channels = math.prod(weight.shape[axis] for axis in axes)
    width = weight.shape[-1] if axes == (0,) else 1
    return Neighbours.of_kernels(weight.numel() // max(channels, 1), 1, width, weight.device)
