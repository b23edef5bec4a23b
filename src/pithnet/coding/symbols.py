"""Symbols as bytes: the methods by name, and the choice of the smallest."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pithnet.coding import huffman, lanes, neighbours, rans_symbols
from pithnet.coding.errors import CodingError
from pithnet.coding.work import Spend, unlimited
from pithnet.errors import nearest

MAX_ALPHABET = 1 << 16


class SymbolCoder(NamedTuple):
    """A way to store flat, non-empty arrays of integers.

    Attributes:
        encode: Takes the symbols, and the mask where it `needs_mask`, and gives bytes.
        decode: Takes the bytes, the number of symbols, the mask where it `needs_mask`, and a function that
            gets the work before it is done, and gives the symbols.
        auto_limit: The most symbols on which "auto" tries this coder.
        needs_mask: Whether the coder uses where the symbols stand.
        auto_least: The fewest symbols on which "auto" tries this coder.
        slowness: How it decodes: 0 in whole arrays, 1 in short ones, 30 to 60 ns a symbol, 2 in a loop of
            Python, which takes up to half a second per million.
    """

    encode: Callable[..., bytes]
    decode: Callable[..., np.ndarray]
    auto_limit: int
    needs_mask: bool = False
    auto_least: int = 0
    slowness: int = 0


SYMBOL_CODERS: dict[str, SymbolCoder] = {
    "huffman": SymbolCoder(huffman.encode, huffman.decode, 1 << 62),
    "rans": SymbolCoder(rans_symbols.encode, rans_symbols.decode, 1 << 20, slowness=2),
    "neighbours": SymbolCoder(neighbours.encode, neighbours.decode, 1 << 20, needs_mask=True, slowness=2),
    "lanes": SymbolCoder(
        lanes.encode, lanes.decode, lanes.MAX_SYMBOLS, needs_mask=True, auto_least=1 << 16, slowness=1
    ),
}


def encode_symbols(
    symbols: np.ndarray, method: str = "auto", mask: np.ndarray | None = None, slowest: int = 2
) -> tuple[str, bytes]:
    """Codes integers of any shape in C order; the bytes hold the model but not the count.

    Args:
        symbols: Integers 0 to 65,535.
        method: A name out of SYMBOL_CODERS, or "auto" for the one with the fewest bytes.
        mask: Where the symbols stand, as booleans of the tensor's shape with a True for each symbol (all True
            for a dense tensor). With it coders can use neighbouring symbols, which pays if the levels are in
            ascending order of their values; the decoder then needs it too.
        slowest: "auto" tries no coder of more `slowness`.

    Returns:
        The name of the method used, and the bytes.

    Raises:
        CodingError: The symbols are not integers from 0 to 65,535, the mask does not fit them, the method
            needs a mask and there is none, or no method has that name.
    """
    flat = _checked(symbols)
    if mask is not None:
        _check_mask(mask, flat.size)
    if method != "auto":
        return method, _encode(_coder(method), method, flat, mask)
    best: tuple[str, bytes] | None = None
    for name, coder in SYMBOL_CODERS.items():
        if coder.slowness > slowest:
            continue
        if not coder.auto_least <= flat.size <= coder.auto_limit or (coder.needs_mask and mask is None):
            continue
        try:
            data = _encode(coder, name, flat, mask)
        except CodingError:  # more levels than this coder takes
            continue
        if best is None or len(data) < len(best[1]):
            best = name, data
    assert best is not None  # "huffman" takes everything
    return best


def decode_symbols(
    method: str, data: bytes, count: int, mask: np.ndarray | None = None, spend: Spend = unlimited
) -> np.ndarray:
    """Reads the symbols that `encode_symbols` wrote.

    Args:
        method: The name that it returned.
        data: The bytes that it returned.
        count: How many symbols there are; with len(data) it bounds time and memory, whatever the bytes say.
        mask: The mask that was given to the encoder.
        spend: Gets the work that is about to be done, in units of about ten nanoseconds; what it raises ends
            the decoding.

    Returns:
        (count,) uint8 if the largest level fits, else uint16.

    Raises:
        CodingError: The stream is damaged, `count` is negative, the mask does not fit or is missing, or no
            method has that name.
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
        return coder.decode(data, count, spend)
    if mask is None:
        raise CodingError(f"method {method!r} needs to know where the symbols stand: pass the mask")
    return coder.decode(data, count, mask, spend)


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
