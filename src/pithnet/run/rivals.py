"""The trivial ways to make the same model smaller, to print beside every result."""

from __future__ import annotations

import torch
import zstandard
from torch import Tensor, nn

from pithnet.artifact import plain_state

_LEVEL = 19


def rivals(float_model: nn.Module, final: nn.Module) -> dict[str, int]:
    """Bytes of: float16 + zstd, int8 per channel + zstd, the model's pruned weights in float16 + zstd."""
    state = _once(plain_state(float_model))
    pruned = dict(state)
    for name, value in plain_state(final).items():
        if value.ndim > 1 and name in pruned:
            pruned[name] = torch.where(value == 0, 0.0, pruned[name])
    return {
        "float16 + zstd": _zstd([v.half() for v in _floats(state)]),
        "int8 + zstd": _zstd([p for v in _floats(state) for p in _int8(v)]),
        "pruned float16 + zstd": _zstd([v.half() for v in _floats(pruned)]),
    }


def _once(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied tensors under their first name only: a rival stores them once too."""
    first = {value.data_ptr() if value.numel() else name: name for name, value in reversed(state.items())}
    return {name: value for name, value in state.items() if name in first.values()}


def _floats(state: dict[str, Tensor]) -> list[Tensor]:
    return [v for v in state.values() if v.is_floating_point()]


def _int8(value: Tensor) -> list[Tensor]:
    """Weights as int8 with a float16 scale per output channel; vectors and empty tensors as float16."""
    if value.ndim < 2 or not value.numel():
        return [value.half()]
    scale = value.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
    return [(value / scale.view(-1, *[1] * (value.ndim - 1))).round().to(torch.int8), scale.half()]


def _zstd(parts: list[Tensor]) -> int:
    return len(zstandard.compress(b"".join(p.cpu().contiguous().numpy().tobytes() for p in parts), _LEVEL))
