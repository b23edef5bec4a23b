"""Masks as rows of small blocks: a kernel, or a row of a large kernel, or eight inputs of a matrix.

A row is an output channel, and its columns are the blocks (kernels) of that channel. A block is a number of
up to nine bits, with the first weight in the lowest bit.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from pithnet.coding.errors import CodingError
from pithnet.coding.rans import TOTAL

MAX_BITS = 9


class Blocks(NamedTuple):
    """How a mask is cut into rows of blocks.

    Attributes:
        rows: Number of output channels.
        columns: Number of blocks per row.
        bits: Weights per block, at most MAX_BITS.
        width: How many weights of a block lie side by side in a kernel's row.
        length: Weights per row.
        run: Weights cut into equal blocks at a time; the last block of a run is filled up with zeros.
    """

    rows: int
    columns: int
    bits: int
    width: int
    length: int
    run: int


def block_bits(shape: tuple[int, ...]) -> Blocks:
    """Returns the cut for a mask of this shape, whose first axis is the output channels."""
    if len(shape) < 2:
        shape = (1, prod(shape))
    length = prod(shape[1:])
    kernel = prod(shape[2:])
    if 2 <= kernel <= MAX_BITS:
        run, bits, width = kernel, kernel, shape[-1]
    elif kernel > MAX_BITS and 2 <= shape[-1] <= MAX_BITS:
        run, bits, width = shape[-1], shape[-1], shape[-1]
    else:
        run = max(length, 1)
        bits = width = -(-run // -(-run // 8))
    columns = length // run * -(-run // bits)
    return Blocks(shape[0], columns, bits, width, length, run)


def blocks_of(mask: np.ndarray, cut: Blocks) -> np.ndarray:
    """Returns the blocks of a mask, (rows, columns) uint16.

    Args:
        mask: Booleans of the shape that `cut` was made for.
        cut: How the mask is cut.
    """
    runs = mask.reshape(-1, cut.run)
    missing = -cut.run % cut.bits
    if missing:
        runs = np.pad(runs, ((0, 0), (0, missing)))
    weights = (1 << np.arange(cut.bits)).astype(np.uint16)
    return (runs.reshape(cut.rows, cut.columns, cut.bits) * weights).sum(2, dtype=np.uint16)


def unblock(values: np.ndarray, cut: Blocks, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the mask whose blocks these are, without the zeros that filled up the last blocks of a run.

    Args:
        values: (rows, columns) uint16 blocks.
        cut: How the mask was cut.
        shape: The mask's shape.

    Raises:
        CodingError: What fills up a block is not zero.
    """
    bits = (values[:, :, None] >> np.arange(cut.bits, dtype=np.uint16) & 1).astype(bool)
    runs = bits.reshape(-1, cut.run + -cut.run % cut.bits)
    if bool(runs[:, cut.run :].any()):
        raise CodingError("the bits behind the last position of a row are not zero: the stream is damaged")
    return np.ascontiguousarray(runs[:, : cut.run]).reshape(shape)


_POPCOUNT = np.array([n.bit_count() for n in range(1 << MAX_BITS)], np.int64)


def popcounts(values: np.ndarray) -> np.ndarray:
    """Returns the number of ones in each value below 512, as int64."""
    return _POPCOUNT[values]


ArrangementRow = tuple[list[int], list[tuple[int, int, int]]]


class Arrangements(NamedTuple):
    """Intervals of 2**14 slots for each block value, among the values with as many ones.

    Attributes:
        start_of: (values,) int64, where the interval of each value begins.
        freq_of: (values,) int64, how wide it is.
        rows: The same for hot loops, by number of ones: the ends of the intervals, and (freq, start, value)
            of each.
    """

    start_of: np.ndarray
    freq_of: np.ndarray
    rows: list[ArrangementRow]


@lru_cache(maxsize=512)
def arrangements(bits: int, width: int, attraction: int) -> Arrangements:
    """Returns the intervals where a pair of neighbouring ones makes a block `attraction` / 4 times as likely.

    Args:
        bits: Weights per block.
        width: How many of them lie side by side.
        attraction: Quarters of the likelihood's factor for each pair, 4 for no preference.
    """
    values = np.arange(1 << bits)
    spots = [(k, k + 1) for k in range(bits - 1) if (k + 1) % width] + [
        (k, k + width) for k in range(bits - width)
    ]
    pairs = sum(((values >> a & values >> b & 1) for a, b in spots), np.zeros_like(values))
    # In integers, below 12**12 for the 12 pairs of a 3x3 block: times 2**14 they stay below 2**63.
    likelihood = np.int64(attraction) ** pairs * np.int64(4) ** (len(spots) - pairs)
    start_of, freq_of = np.zeros(len(values), np.int64), np.full(len(values), TOTAL, np.int64)
    rows: list[ArrangementRow] = []
    for n in range(bits + 1):
        which = np.flatnonzero(popcounts(values) == n)
        if len(which) > 1:
            share = 1 + likelihood[which] * (TOTAL - 2 * len(which)) // likelihood[which].sum()
            share[share.argmax()] += TOTAL - share.sum()
            freq_of[which], start_of[which] = share, np.cumsum(share) - share
        start = start_of[which].tolist()
        rows.append((start[1:], list(zip(freq_of[which].tolist(), start, which.tolist(), strict=True))))
    return Arrangements(start_of, freq_of, rows)
