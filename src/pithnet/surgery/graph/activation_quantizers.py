"""Modules that round activations to unsigned integers and back, where a network's graph puts them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pithnet.errors import ModelError
from pithnet.tensor.observers import Observer
from pithnet.tensor.quantizers import MAX_BITS, activation_grid, on_grid, pact

_OBSERVED, _LEARNED = 0, 1  # the first number of a quantizer's extra state


def is_activation_state(state: object) -> bool:
    """Tells whether this is of the form that `get_extra_state` of an activation quantizer gives."""
    return isinstance(state, Tensor) and state.shape == (2,) and state.dtype == torch.int64


class ActivationQuantizer(nn.Module):
    """x -> the nearest of 2^bits levels (q - zero_point) * scale, q in quant_min..quant_max.

    Shape and dtype stay. While it has an `observer` it watches and passes x on as it is; `settle` ends that.
    The gradient passes straight inside the range and is none beyond it. place: what it follows, for messages.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, bits: int, observer: Observer | None, place: str) -> None:
        super().__init__()
        self.bits, self.quant_min, self.quant_max = bits, 0, 2**bits - 1
        self.observer = observer
        self.place = place
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int32))

    def get_extra_state(self) -> Tensor:
        """Returns int64 (2,): 0 for an observed range, and the bits."""
        return torch.tensor([_OBSERVED, self.bits])

    def set_extra_state(self, state: Tensor) -> None:
        """Checks that a state is of such a quantizer.

        Raises:
            ModelError: It is of another one; `restore` is the way to load it.
        """
        if state.tolist() != self.get_extra_state().tolist():
            raise ModelError("the state is of a model quantized otherwise; load it with pithnet.restore")

    def settle(self) -> None:
        """Takes the range its observer found.

        Raises:
            ModelError: The activations are constant; the place is said.
        """
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

    def get_extra_state(self) -> Tensor:
        """Returns int64 (2,): 1 for a learned range, and the bits."""
        return torch.tensor([_LEARNED, self.bits])

    def set_extra_state(self, state: Tensor) -> None:
        """Checks that a state is of such a quantizer.

        Raises:
            ModelError: It is of another one; `restore` is the way to load it.
        """
        if state.tolist() != self.get_extra_state().tolist():
            raise ModelError("the state is of a model quantized otherwise; load it with pithnet.restore")

    def forward(self, x: Tensor) -> Tensor:
        return pact(x, self.alpha, self.bits)


def quantizer_from_state(place: str, state: Mapping[str, Tensor]) -> ActivationQuantizer | LearnedClip:
    """Makes the settled quantizer of a state_dict's `_extra_state`, `zero_point`, and `scale` or `alpha`.

    Raises:
        ModelError: The state is of no known quantizer; the place is said.
    """
    kind, bits = state["_extra_state"].tolist()
    tensor = {_OBSERVED: "scale", _LEARNED: "alpha"}.get(kind)
    if tensor is None or not 1 <= bits <= MAX_BITS or not {tensor, "zero_point"} <= state.keys():
        raise ModelError(f"the state has an unknown quantizer of the activations at {place}")
    settled = ActivationQuantizer(bits, None, place)
    settled.zero_point = state["zero_point"].clone()
    if kind == _OBSERVED:
        settled.scale = state["scale"].clone()
        return settled
    clip = LearnedClip(settled)
    clip.alpha = nn.Parameter(state["alpha"].detach().clone())
    return clip
