"""The numbers of a file in the formats of the model that they are for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from pithnet.errors import ArtifactError, PithWarning


def cast(state: Mapping[str, Tensor], own: Mapping[str, object]) -> dict[str, Tensor]:
    """Returns a state with each tensor in the dtype of the model's tensor of that name.

    It warns (PithWarning) with the number of values that are rounded, and the first tensor that holds one.

    Args:
        state: What a file holds.
        own: The model's state_dict.

    Raises:
        ArtifactError: A tensor has values beyond the range of the model's format; the message names it.
    """
    converted: dict[str, Tensor] = {}
    made: dict[int, Tensor] = {}  # what is one tensor under several names stays one
    rounded, numbers, first = 0, 0, ""
    for name, value in state.items():
        mine = own.get(name)
        if not isinstance(mine, Tensor) or mine.dtype == value.dtype or id(value) in made:
            converted[name] = made.get(id(value), value)
            continue
        converted[name] = made[id(value)] = value.to(mine.dtype)
        changed = _changed(name, value, converted[name])
        first = first or (f"{name} ({_short(value.dtype)} to {_short(mine.dtype)})" if changed else "")
        rounded, numbers = rounded + changed, numbers + value.numel()
    if rounded:
        warnings.warn(
            f"{rounded:,} of {numbers:,} numbers were rounded to the model's format, first in {first}; for "
            "the very numbers of the file load it into the model in float32 (model.float())",
            PithWarning,
            stacklevel=3,
        )
    return converted


def _changed(name: str, value: Tensor, narrow: Tensor) -> int:
    """Returns how many numbers are others in the narrower format."""
    beyond = narrow.isinf() & value.isfinite()
    if bool(beyond.any()):
        raise ArtifactError(
            f"{name} holds {float(value[beyond].flatten()[0]):.4g}, beyond the range of the model's "
            f"{_short(narrow.dtype)}; load it into the model in float32 (model.float())"
        )
    both = torch.promote_types(value.dtype, narrow.dtype)
    return int(((value.to(both) != narrow.to(both)) & ~value.isnan()).sum())


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
