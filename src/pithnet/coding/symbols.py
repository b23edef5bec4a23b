"""Symbols -> bytes: the methods by name, and the choice of the smallest."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pithnet.coding import huffman, neighbours, static
from pithnet.coding.errors import CodingError
from pithnet.errors import nearest

MAX_ALPHABET = 1 << 16


class SymbolCoder(NamedTuple):
    """encode(symbols, mask) -> bytes and decode(data, count, mask) -> symbols, for flat non-empty arrays.

    `needs_mask`: it uses where the symbols stand. "auto" tries a coder on up to `auto_limit` symbols, since
    loops in Python take about half a second per million.
    """

    encode: Callable[..., bytes]
    decode: Callable[..., np.ndarray]
    auto_limit: int
    needs_mask: bool = False


SYMBOL_CODERS: dict[str, SymbolCoder] = {
    "huffman": SymbolCoder(huffman.encode, huffman.decode, 1 << 62),
    "rans": SymbolCoder(static.encode, static.decode, 1 << 20),
    "neighbours": SymbolCoder(neighbours.encode, neighbours.decode, 1 << 20, needs_mask=True),
}


def encode_symbols(
    symbols: np.ndarray, method: str = "auto", mask: np.ndarray | None = None
) -> tuple[str, bytes]:
    """Code integers 0 .. 65,535 of any shape, in C order; the bytes hold the model but not the count.

    mask: where the symbols stand, a boolean array of the tensor's shape with a True for each symbol (all True
    for a dense tensor). It lets coders use neighbouring symbols; the decoder then needs it too. This pays if
    the levels are in ascending order of their values.
    Returns the method used and the bytes; "auto" takes the smallest. CodingError for other values or methods.
    """
    flat = _checked(symbols)
    if mask is not None:
        _check_mask(mask, flat.size)
    if method != "auto":
        return method, _encode(_coder(method), method, flat, mask)
    best: tuple[str, bytes] | None = None
    for name, coder in SYMBOL_CODERS.items():
        if flat.size > coder.auto_limit or (coder.needs_mask and mask is None):
            continue
        try:
            data = _encode(coder, name, flat, mask)
        except CodingError:  # more levels than this coder takes
            continue
        if best is None or len(data) < len(best[1]):
            best = name, data
    assert best is not None  # "huffman" takes everything
    return best


def decode_symbols(method: str, data: bytes, count: int, mask: np.ndarray | None = None) -> np.ndarray:
    """The `count` symbols of a stream, flat, uint8 if the largest level fits, else uint16.

    mask: the one given to the encoder. CodingError for a damaged stream; `count` and len(data) bound time and
    memory, whatever it says.
    """
    coder = _coder(method)
    if count < 0:
        raise CodingError(f"a stream has 0 or more symbols, not {count}")
    if mask is not None:
        _check_mask(mask, count)
    if count == 0:
        if data:
            raise CodingError("no symbols, but the stream has bytes: it is damaged")
        return np.zeros(0, np.uint8)
    if not coder.needs_mask:
        return coder.decode(data, count)
    if mask is None:
        raise CodingError(f"method {method!r} needs to know where the symbols stand: pass the mask")
    return coder.decode(data, count, mask)


def _encode(coder: SymbolCoder, name: str, flat: np.ndarray, mask: np.ndarray | None) -> bytes:
    if not coder.needs_mask:
        return coder.encode(flat)
    if mask is None:
        raise CodingError(f"method {name!r} needs to know where the symbols stand: pass the mask")
    return coder.encode(flat, mask)


def _check_mask(mask: np.ndarray, count: int) -> None:
    if mask.dtype != np.bool_ or np.count_nonzero(mask) != count:
        raise CodingError(f"the mask must be boolean with one True for each of the {count} symbols")


def _coder(method: str) -> SymbolCoder:
    if method not in SYMBOL_CODERS:
        raise CodingError(f"no symbol coder is called {method!r}.{nearest(method, SYMBOL_CODERS)}")
    return SYMBOL_CODERS[method]


def _checked(symbols: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(symbols).ravel()
    if flat.size == 0:
        return flat.astype(np.uint8)
    if flat.dtype.kind not in "iub":
        raise CodingError(f"symbols are integers, not {flat.dtype}: convert them to levels first")
    low, high = int(flat.min()), int(flat.max())
    if low < 0 or high >= MAX_ALPHABET:
        raise CodingError(f"symbols lie in 0 .. 65,535, not {low} .. {high}: shift or remap them first")
    return flat.astype(np.uint8 if high < 256 else np.uint16, copy=False)
