"""Which weights are non-zero, as bytes: the methods by name, and the choice of the smallest."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np

from pithnet.coding import gaps, kernels
from pithnet.coding.errors import CodingError
from pithnet.coding.work import Spend, unlimited
from pithnet.errors import nearest


class PositionCoder(NamedTuple):
    """A way to store a mask.

    Attributes:
        encode: Takes a boolean mask and gives bytes.
        decode: Takes the bytes, the mask's shape and a function that gets the work before it is done, and
            gives the mask.
        auto_limit: The largest mask, in elements, on which "auto" tries this coder.
        slowness: How it decodes, as in `SymbolCoder`.
    """

    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes, tuple[int, ...], Spend], np.ndarray]
    auto_limit: int
    slowness: int = 0


def _encode_bitmap(mask: np.ndarray) -> bytes:
    return np.packbits(mask).tobytes()


def _decode_bitmap(data: bytes, shape: tuple[int, ...], spend: Spend) -> np.ndarray:
    size = prod(shape)
    spend(size // 8)
    if len(data) != -(-size // 8):
        raise CodingError(f"a bitmap of {size} positions has {-(-size // 8)} bytes, not {len(data)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits[size:].any():
        raise CodingError("the bits behind the last position are not zero: the stream is damaged")
    return bits[:size].astype(bool).reshape(shape)


def _encode_constant(mask: np.ndarray) -> bytes:
    if mask.size and mask.any() != mask.all():
        raise CodingError("method 'constant' codes masks that are all true or all false")
    return b"\1" if mask.any() else b""


def _decode_constant(data: bytes, shape: tuple[int, ...], spend: Spend) -> np.ndarray:
    spend(prod(shape) // 16)
    if data not in (b"", b"\1"):
        raise CodingError("a constant mask is coded as no byte or the byte 1: the stream is damaged")
    return np.full(shape, bool(data))


POSITION_CODERS: dict[str, PositionCoder] = {
    "constant": PositionCoder(_encode_constant, _decode_constant, 1 << 62),
    "bitmap": PositionCoder(_encode_bitmap, _decode_bitmap, 1 << 62),
    "gaps": PositionCoder(gaps.encode, gaps.decode, 1 << 62),
    "kernels": PositionCoder(kernels.encode, kernels.decode, 1 << 25, slowness=2),
}


def encode_positions(mask: np.ndarray, method: str = "auto", slowest: int = 2) -> tuple[str, bytes]:
    """Codes a boolean mask of any shape; the shape is not stored.

    Args:
        mask: Booleans, True for non-zero; the first axis is the output channels.
        method: A name out of POSITION_CODERS, or "auto" for the one with the fewest bytes.
        slowest: "auto" tries no coder of more `slowness`.

    Returns:
        The name of the method used, and the bytes.

    Raises:
        CodingError: The array is not boolean, or no method has that name.
    """
    if mask.dtype != np.bool_:
        raise CodingError(f"a mask is boolean, not {mask.dtype}: compare with zero first")
    if method != "auto":
        return method, _coder(method).encode(np.ascontiguousarray(mask).reshape(mask.shape))
    mask = np.ascontiguousarray(mask).reshape(mask.shape)
    best: tuple[str, bytes] | None = None
    for name, coder in POSITION_CODERS.items():
        if mask.size > coder.auto_limit or coder.slowness > slowest:
            continue
        try:
            data = coder.encode(mask)
        except CodingError:  # not a mask this coder takes
            continue
        if best is None or len(data) < len(best[1]):
            best = name, data
    assert best is not None  # "bitmap" takes every mask
    return best


def decode_positions(
    method: str, data: bytes, shape: tuple[int, ...], spend: Spend = unlimited
) -> np.ndarray:
    """Reads the mask that `encode_positions` wrote.

    Args:
        method: The name that it returned.
        data: The bytes that it returned.
        shape: The mask's shape, which bounds time and memory whatever the bytes say.
        spend: Gets the work that is about to be done, in units of about ten nanoseconds; what it raises ends
            the decoding.

    Raises:
        CodingError: The stream is damaged, the shape has a negative number, or no method has that name.
    """
    if any(n < 0 for n in shape):
        raise CodingError(f"{shape} is not a shape")
    return _coder(method).decode(data, tuple(shape), spend)


def _coder(method: str) -> PositionCoder:
    if method not in POSITION_CODERS:
        raise CodingError(f"no position coder is called {method!r}.{nearest(method, POSITION_CODERS)}")
    return POSITION_CODERS[method]
