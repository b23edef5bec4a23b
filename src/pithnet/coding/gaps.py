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
from pithnet.coding.work import Spend, unlimited

MAX_BITS = 8
_BLOCK = 1 << 18  # of a mask or of gaps, worked on at a time


def relative_gaps(mask: np.ndarray, bits: int) -> np.ndarray:
    """Returns the gap symbols of a mask in C order; zeros behind the last non-zero are not coded.

    Args:
        mask: Booleans of any shape.
        bits: Bits per gap b, 1 to 8.

    Returns:
        (gaps,) uint8, each 0 to 2**b - 1.
    """
    return _gap_symbols(_zeros_before(mask), bits)


def _zeros_before(mask: np.ndarray) -> np.ndarray:
    """Counts the zeros between each non-zero and the one before it; returns (non-zeros,) uint32."""
    flat, last, found = mask.reshape(-1), -1, [np.zeros(0, np.uint32)]
    for low in range(0, flat.size, _BLOCK):
        at = low + np.flatnonzero(flat[low : low + _BLOCK])
        if at.size:
            found.append((np.diff(at, prepend=last) - 1).astype(np.uint32))
            last = int(at[-1])
    return np.concatenate(found)


def _gap_symbols(zeros: np.ndarray, bits: int) -> np.ndarray:
    limit, found = (1 << bits) - 1, [np.zeros(0, np.uint8)]
    for low in range(0, zeros.size, _BLOCK):
        fillers, rest = np.divmod(zeros[low : low + _BLOCK].astype(np.int64), limit)
        symbols = np.full(int(fillers.sum()) + rest.size, limit, np.uint8)
        symbols[np.cumsum(fillers + 1) - 1] = rest
        found.append(symbols)
    return np.concatenate(found)


def encode(mask: np.ndarray) -> bytes:
    """Returns the smallest gap coding of a boolean mask, which is empty if nothing is non-zero."""
    if not mask.any():
        return b""
    zeros = _zeros_before(mask)
    distinct, counts = np.unique(zeros, return_counts=True)
    bits = min((_estimate(distinct.astype(np.int64), counts, b), b) for b in range(1, MAX_BITS + 1))[1]
    symbols = _gap_symbols(zeros, bits)
    return bytes([bits]) + put_varint(symbols.size) + huffman.encode(symbols)


def decode(data: bytes, shape: tuple[int, ...], spend: Spend = unlimited) -> np.ndarray:
    """Reads the mask that `encode` wrote.

    Args:
        data: The stream.
        shape: The mask's shape.
        spend: Gets the work that is about to be done.

    Raises:
        CodingError: The stream is damaged, or does not fit the shape.
    """
    size = prod(shape)
    spend(size // 16)
    mask = np.zeros(size, bool)
    if not data:
        return mask.reshape(shape)
    if not 1 <= data[0] <= MAX_BITS:
        raise CodingError(f"gaps have 1 to {MAX_BITS} bits, not {data[0]}: the stream is damaged")
    limit = (1 << data[0]) - 1
    count, at = get_varint(data, 1)
    if not 0 < count <= size:
        raise CodingError(f"{count} gaps do not fit {size} positions: the stream is damaged")
    spend(count)
    symbols = huffman.decode(data[at:], count, spend)
    if symbols.max() > limit:
        raise CodingError("a gap is wider than its bits: the stream is damaged")
    last = -1
    for low in range(0, count, _BLOCK):
        block = symbols[low : low + _BLOCK]
        filler = block == limit
        ends = last + np.cumsum(np.where(filler, limit, block + np.int64(1)))
        last = int(ends[-1])
        if last >= size:
            raise CodingError("the gaps run past the last position: the stream is damaged")
        mask[ends[~filler]] = True
    return mask.reshape(shape)


def _estimate(zeros: np.ndarray, times: np.ndarray, bits: int) -> float:
    """Returns about how many bits the Huffman codes and their model take, for numbers of zeros and counts."""
    limit = (1 << bits) - 1
    fillers = int((zeros // limit) @ times)
    # Whole numbers below 2**53: the doubles in which bincount adds the weights are exact.
    counts = np.bincount(zeros % limit, times).astype(np.int64)
    if fillers:
        counts = np.pad(counts, (0, limit + 1 - counts.size))
        counts[limit] = fillers
    return float(counts @ code_lengths(counts).astype(np.int64)) + 2.0 * counts.size
