"""Tensors that a model holds under several names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def conflicting_tie(model: nn.Module, state: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Returns the first two names of one tensor for which a state has different numbers, or None.

    Loading such a state would silently keep the last of the two.

    Args:
        model: Any network.
        state: Its state_dict.
    """
    first: dict[tuple[object, ...], str] = {}
    for key, value in model.state_dict().items():
        if key not in state or not isinstance(value, Tensor) or value.is_meta or not value.numel():
            continue
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        other = first.setdefault(place, key)
        if other != key and not torch.equal(raw_bytes(state[other]), raw_bytes(state[key])):
            return other, key
    return None


def raw_bytes(value: Tensor) -> Tensor:
    """Returns a tensor's numbers in C order, as uint8: in these NaN equals itself, and -0.0 is not 0.0."""
    flat = value.contiguous().reshape(-1)
    # One number, or none, counts as contiguous whatever its stride; a view of bytes needs stride 1.
    return flat.as_strided((flat.numel(),), (1,)).view(torch.uint8)
