"""Modules that round activations to unsigned integers and back, where a network's graph puts them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.tensor.observers import Observer
from pithnet.tensor.quantizers import activation_grid, on_grid, pact


class ActivationQuantizer(nn.Module):
    """x -> the nearest of 2^bits levels (q - zero_point) * scale, q in quant_min..quant_max.

    Shape and dtype stay. While it has an `observer` it watches and passes x on as it is; `settle` ends that.
    The gradient passes straight inside the range and is none beyond it. place: what it follows, for messages.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, bits: int, observer: Observer, place: str) -> None:
        super().__init__()
        self.bits, self.quant_min, self.quant_max = bits, 0, 2**bits - 1
        self.observer: Observer | None = observer
        self.place = place
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int32))

    def settle(self) -> None:
        """Takes the range its observer found. Raises ModelError, with the place, for constant activations."""
        assert self.observer is not None
        low, high = self.observer.range()
        if self.observer.lowest == self.observer.highest:
            raise ModelError(
                f"the activations at {self.place} are {self.observer.lowest:g} everywhere, for every image; "
                "check the calibration images, or take out what computes them"
            )
        scale, zero_point = activation_grid(low, high, self.bits)
        self.scale.fill_(scale)
        self.zero_point.fill_(zero_point)
        self.observer = None

    def forward(self, x: Tensor) -> Tensor:
        if self.observer is not None:
            try:
                self.observer.observe(x)
            except ModelError as e:
                raise ModelError(f"at {self.place}: {e}") from None
            return x
        return on_grid(x, self.scale, self.zero_point, self.bits)


class LearnedClip(nn.Module):
    """x -> 2^bits levels from 0 to `alpha`, a parameter (PACT): for activations that are never negative."""

    zero_point: Tensor

    def __init__(self, settled: ActivationQuantizer) -> None:
        super().__init__()
        self.bits, self.quant_min, self.quant_max = settled.bits, 0, settled.quant_max
        self.alpha = nn.Parameter(settled.scale.detach() * settled.quant_max)
        self.register_buffer("zero_point", torch.zeros_like(settled.zero_point))

    @property
    def scale(self) -> Tensor:
        """A step between levels, ()."""
        return self.alpha.detach() / self.quant_max

    def forward(self, x: Tensor) -> Tensor:
        return pact(x, self.alpha, self.bits)
