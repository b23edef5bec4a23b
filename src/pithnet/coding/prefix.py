"""Optimal length-limited prefix codes: lengths by package-merge, canonical codes, look-up tables.

Source: L. Larmore, D. Hirschberg, "A fast algorithm for optimal length-limited Huffman codes",
J. ACM 37(3), 1990.
"""

from __future__ import annotations

import numpy as np

from pithnet.coding.errors import CodingError

MAX_LENGTH = 16  # 2**16 symbols always fit, and a look-up table of 2**16 entries still sits in the L2 cache

FAST_LENGTH = 8  # two codes of up to 8 bits fit one 16-bit look-up


def code_lengths(frequencies: np.ndarray, limit: int = MAX_LENGTH) -> np.ndarray:
    """Returns the code lengths that minimise the coded size with no code longer than `limit` bits.

    Args:
        frequencies: (alphabet,) counts.
        limit: The longest allowed code in bits.

    Returns:
        (alphabet,) uint8: 0 for symbols that never occur, and for the only symbol of a one-symbol alphabet,
        which needs no bits.

    Raises:
        CodingError: So many symbols occur that codes of `limit` bits are too few.
    """
    counts = np.asarray(frequencies, np.int64)
    used = np.flatnonzero(counts)
    lengths = np.zeros(counts.size, np.uint8)
    if used.size < 2:
        return lengths
    if used.size > 1 << limit:
        raise CodingError(f"{used.size} symbols need more than {limit} bits each; raise the length limit")
    order = used[np.argsort(counts[used], kind="stable")]
    lengths[order] = _package_merge(counts[order], limit)
    return lengths


def _package_merge(weights: np.ndarray, limit: int) -> np.ndarray:
    """Returns the optimal lengths for ascending weights.

    Pairs are packaged and merged with the leaves `limit - 1` times; then the cheapest 2n - 2 items tell how
    many leaves they hold at each level, always a prefix of the sorted leaves.
    """
    n = len(weights)
    items = weights
    leaf_at: list[np.ndarray] = [np.ones(n, bool)]
    for _ in range(limit - 1):
        pairs = len(items) // 2
        packages = items[0 : 2 * pairs : 2] + items[1 : 2 * pairs : 2]
        merged = np.concatenate([weights, packages])
        order = np.argsort(merged, kind="stable")
        items = merged[order]
        leaf_at.append(order < n)
    lengths = np.zeros(n, np.uint8)
    take = 2 * n - 2
    for is_leaf in reversed(leaf_at):
        leaves = int(np.count_nonzero(is_leaf[:take]))
        lengths[:leaves] += 1
        take = 2 * (take - leaves)
    return lengths


def canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """Returns canonical codes: shorter ones first, then by symbol.

    Args:
        lengths: (alphabet,) bits of each code.

    Returns:
        (alphabet,) uint32 codes, 0 where the length is 0.

    Raises:
        CodingError: A length is above MAX_LENGTH, or several symbols occur and the lengths do not fill the
            code space exactly (Kraft sum 1).
    """
    codes = np.zeros(len(lengths), np.uint32)
    used = np.flatnonzero(lengths)
    if used.size == 0:
        return codes
    if int(lengths.max()) > MAX_LENGTH:
        raise CodingError(f"code lengths go up to {MAX_LENGTH}, not {int(lengths.max())}")
    order = used[np.argsort(lengths[used], kind="stable")]
    span = 1 << (MAX_LENGTH - lengths[order].astype(np.int64))  # share of the code space, in 2**-16
    ends = np.cumsum(span)
    if int(ends[-1]) != 1 << MAX_LENGTH:
        raise CodingError("the code lengths do not form a complete prefix code: the stream is damaged")
    codes[order] = (ends - span) >> (MAX_LENGTH - lengths[order].astype(np.int64))
    return codes


def decode_table(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns a table of what the next bits of a stream, read as a number, begin with.

    Args:
        lengths: (alphabet,) code lengths in bits.

    Returns:
        The symbol and its code's length for each of 2**bits numbers, and `bits`.
    """
    canonical_codes(lengths)  # refuses an incomplete code
    bits = int(lengths.max())
    used = np.flatnonzero(lengths)
    order = used[np.argsort(lengths[used], kind="stable")]
    span = 1 << (bits - lengths[order].astype(np.int64))
    return np.repeat(order, span).astype(np.uint16), np.repeat(lengths[order], span), bits
