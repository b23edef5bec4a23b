"""The trivial ways to make the same model smaller, to print beside every result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import zstandard
from torch import Tensor, nn

from pithnet.artifact import plain_state
from pithnet.heartbeat import working

_LEVEL = 19
_WHOLE = 1 << 19  # numbers: zstd takes as long for more of them as pithnet for the whole file
_SAMPLED = 128  # one number in so many is compressed where there are more,
_ROWS = 16  # from one row in so many
_SHORT = 1 << 12  # tensors of fewer numbers are compressed whole


def rivals(float_model: nn.Module, final: nn.Module) -> dict[str, int]:
    """Measures the bytes of the trivial ways to make the model smaller, by name.

    The ways are float16 with zstd, int8 per channel with zstd, and the model's pruned weights in float16 with
    zstd. Of a model that is `sampled` they are estimates: a part of every large tensor is compressed, and
    what it takes is multiplied by the share that it stands for.

    Args:
        float_model: The model as it was.
        final: The finalized model, whose zeros the third way has.
    """
    state, kept = _once(plain_state(float_model)), plain_state(final)
    part = _sample if sampled(float_model) else _all
    with working("compress the trivial rivals"):
        parts = [part(v, kept.get(n, v) if v.ndim > 1 else v) for n, v in state.items() if _counts(v)]
        return {
            "float16 + zstd": _bytes(parts, lambda p: [p.values.half()]),
            "int8 + zstd": _bytes(parts, _int8),
            "pruned float16 + zstd": _bytes(parts, lambda p: [torch.where(p.zeros, 0.0, p.values).half()]),
        }


def sampled(float_model: nn.Module) -> bool:
    """Returns whether rivals are estimated from samples: the model has more than half a million numbers."""
    return sum(v.numel() for v in _once(plain_state(float_model)).values() if _counts(v)) > _WHOLE


@dataclass(frozen=True)
class _Part:
    """Numbers of a tensor, where they are zero in the compressed one, and which share of it they are.

    `largest` has for each row of `values` the largest magnitude of the whole row; it is None for a vector.
    """

    values: Tensor
    zeros: Tensor
    largest: Tensor | None
    share: float = 1.0


def _all(value: Tensor, kept: Tensor) -> _Part:
    largest = value.flatten(1).abs().amax(1) if value.ndim > 1 and value.numel() else None
    return _Part(value, kept == 0 if value.ndim > 1 else torch.zeros_like(value, dtype=torch.bool), largest)


def _sample(value: Tensor, kept: Tensor) -> _Part:
    """Neighbouring numbers of some rows, evenly spaced."""
    if value.ndim < 2 or value.numel() < _SHORT:
        return _all(value, kept)
    rows, zeros = value.flatten(1)[::_ROWS], kept.flatten(1)[::_ROWS] == 0
    width = -(-value.numel() // (_SAMPLED * len(rows)))
    low = (rows.shape[1] - width) // 2
    some = rows[:, low : low + width]
    share = some.numel() / value.numel()
    return _Part(some, zeros[:, low : low + width], rows.abs().amax(1), share)


def _once(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied tensors under their first name only: a rival stores them once too."""
    first = {value.data_ptr() if value.numel() else name: name for name, value in reversed(state.items())}
    names = set(first.values())
    return {name: value for name, value in state.items() if name in names}


def _counts(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _int8(part: _Part) -> list[Tensor]:
    """Weights as int8 with a float16 scale per output channel; vectors and empty tensors as float16."""
    if part.largest is None:
        return [part.values.half()]
    scale = part.largest.clamp(min=1e-12) / 127
    rows = scale.view(-1, *[1] * (part.values.ndim - 1))
    return [(part.values / rows).round().to(torch.int8), scale.half()]


def _bytes(parts: Iterable[_Part], stored: Callable[[_Part], list[Tensor]]) -> int:
    """What zstd makes of the tensors stored so: of whole ones together, and of samples, times their share."""
    whole, some, scales, there, stood_for = list[Tensor](), list[Tensor](), 0, 0, 0.0
    for part in parts:
        tensors = stored(part)
        if part.share == 1:
            whole += tensors
            continue
        some.append(tensors[0])
        there += part.values.numel()
        stood_for += part.values.numel() / part.share
        scales += sum(t.nbytes for t in tensors[1:]) * _ROWS
    return _zstd(whole) + (round(_zstd(some) * stood_for / there) + scales if there else 0)


def _zstd(parts: list[Tensor]) -> int:
    return len(zstandard.compress(b"".join(p.cpu().contiguous().numpy().tobytes() for p in parts), _LEVEL))
