"""Order statistics over many tensors at once, a block at a time: no copy of everything, no sort.

Floats in ascending order are ascending integers, bit by bit (but for the negative ones, which are turned
round): 16 bits of them are counted at a time, from the top (radix selection; Knuth, TAOCP 3, 5.2.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import torch
from torch import Tensor

BLOCK = 1 << 20
_DIGIT = 16
_INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}


def common_dtype(tensors: Sequence[Tensor]) -> torch.dtype:
    """Returns float32, or float64 where a tensor needs it: every value of all of them is exact in it."""
    return reduce(torch.promote_types, (t.dtype for t in tensors), torch.float32)


def blocks(tensor: Tensor, dtype: torch.dtype) -> Iterator[Tensor]:
    """Yields the values in flat order as `dtype`, at most BLOCK at a time."""
    for block in tensor.detach().reshape(-1).split(BLOCK):
        yield block.to(dtype)


def kth_smallest(tensors: Sequence[Tensor], k: int, sizes: Sequence[int] | None = None) -> tuple[Tensor, int]:
    """Finds the k-th smallest value of all tensors together, and how many values are smaller.

    It takes O(n) time, and memory for a block and 2^16 counts.

    Args:
        tensors: Finite numbers, on one device.
        k: From 1 to how many values there are.
        sizes: For each tensor how many times each of its values counts; once where None.

    Returns:
        The value, a scalar tensor of `common_dtype` on the tensors' device, and the number of smaller ones.
    """
    dtype = common_dtype(tensors)
    bits = torch.finfo(dtype).bits
    sizes = [1] * len(tensors) if sizes is None else sizes
    top = below = 0
    for left in range(bits - _DIGIT, -1, -_DIGIT):
        counts = _digit_counts(tensors, sizes, dtype, left, top if left < bits - _DIGIT else None)
        ends = counts.cumsum(0)
        digit = int(torch.searchsorted(ends, k - below))
        below += int(ends[digit - 1]) if digit else 0
        # The first digit is signed.
        top = (top << _DIGIT) + digit if left < bits - _DIGIT else digit - (1 << _DIGIT - 1)
    key = torch.tensor(top, dtype=_INTEGERS[dtype], device=tensors[0].device)
    return _turned(key).view(dtype), below


def _digit_counts(
    tensors: Sequence[Tensor], sizes: Sequence[int], dtype: torch.dtype, left: int, top: int | None
) -> Tensor:
    """How often each 16-bit digit with `left` bits behind it occurs, among keys that begin with `top`."""
    counts = torch.zeros(1 << _DIGIT, dtype=torch.int64, device=tensors[0].device)
    for tensor, size in zip(tensors, sizes, strict=True):
        for block in blocks(tensor, dtype):
            digits = _keys(block) >> left
            if top is None:
                digits += 1 << _DIGIT - 1
            else:
                digits = digits[digits >> _DIGIT == top] & (1 << _DIGIT) - 1
            counts += size * torch.bincount(digits, minlength=1 << _DIGIT)
    return counts


def _keys(block: Tensor) -> Tensor:
    """Integers in the order of the floats; -0.0 counts as 0.0."""
    return _turned((block + 0.0).view(_INTEGERS[block.dtype]))


def _turned(bits: Tensor) -> Tensor:
    """Negative floats ascend as their bit patterns descend; its own inverse."""
    return bits ^ (bits >> torch.iinfo(bits.dtype).bits - 1 & torch.iinfo(bits.dtype).max)
