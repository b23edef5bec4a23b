"""Positions as Deep Compression stores them: the zeros before each non-zero, bounded, Huffman coded.

A gap symbol g < limit means g zeros and a non-zero; the symbol `limit` means limit zeros and no non-zero (the
source's filler, which it stores as a zero weight). The limit is 2**b - 1, with the best b of 1..8.
A stream is: byte b, varint number of symbols, Huffman stream.

Source: S. Han, H. Mao, W. J. Dally, "Deep Compression", ICLR 2016, section 2 and figure 2.
"""

from __future__ import annotations

from math import prod

import numpy as np

from pithnet.coding import huffman
from pithnet.coding.bitpack import get_varint, put_varint
from pithnet.coding.errors import CodingError
from pithnet.coding.prefix import code_lengths

MAX_BITS = 8


def relative_gaps(mask: np.ndarray, bits: int) -> np.ndarray:
    """Gap symbols 0 .. 2**bits - 1 of a mask in C order (zeros behind the last non-zero are not coded)."""
    limit = (1 << bits) - 1
    zeros = np.diff(np.flatnonzero(mask), prepend=-1) - 1
    fillers = zeros // limit
    out = np.full(int(fillers.sum()) + zeros.size, limit, np.uint8)
    out[np.cumsum(fillers + 1) - 1] = zeros % limit
    return out


def encode(mask: np.ndarray) -> bytes:
    """The smallest gap coding of a mask; an empty one if nothing is non-zero."""
    if not mask.any():
        return b""
    counts = [(_estimate(relative_gaps(mask, b)), b) for b in range(1, MAX_BITS + 1)]
    bits = min(counts)[1]
    symbols = relative_gaps(mask, bits)
    return bytes([bits]) + put_varint(symbols.size) + huffman.encode(symbols)


def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The mask of this shape; CodingError for a damaged stream."""
    size = prod(shape)
    mask = np.zeros(size, bool)
    if not data:
        return mask.reshape(shape)
    if not 1 <= data[0] <= MAX_BITS:
        raise CodingError(f"gaps have 1 to {MAX_BITS} bits, not {data[0]}: the stream is damaged")
    limit = (1 << data[0]) - 1
    count, at = get_varint(data, 1)
    if not 0 < count <= size:
        raise CodingError(f"{count} gaps do not fit {size} positions: the stream is damaged")
    symbols = huffman.decode(data[at:], count).astype(np.int64)
    if symbols.max() > limit:
        raise CodingError("a gap is wider than its bits: the stream is damaged")
    filler = symbols == limit
    ends = np.cumsum(np.where(filler, limit, symbols + 1)) - 1
    if ends[-1] >= size:
        raise CodingError("the gaps run past the last position: the stream is damaged")
    mask[ends[~filler]] = True
    return mask.reshape(shape)


def _estimate(symbols: np.ndarray) -> float:
    """Bits of the Huffman codes, and of the model, about."""
    counts = np.bincount(symbols)
    return float(counts @ code_lengths(counts).astype(np.int64)) + 2.0 * counts.size
