"""What the encoder of `lanes` writes into the head: how many lanes, where contexts begin, which classes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import isqrt, prod

import numpy as np

from pithnet.coding.integer_log import FRACTION, code_length
from pithnet.coding.lanes_head import (
    BORDERS,
    MAX_LANES,
    MAX_LEVELS,
    MAX_SENT,
    MAX_TAIL,
    Head,
    share_levels,
)
from pithnet.coding.lanes_model import SUMS, score_sums, sum_contexts
from pithnet.coding.tiles import LEAST_LANES, Cut

_SAMPLE = 1 << 16  # symbols that borders are chosen by
_CANDIDATES = (3, 8, 11, 13, 15)  # sixteenths of the sums that are not 0
_CLASSES = (1, 4, 8, 12, 16)
_REACH = 16  # of a row's or a column's number, each way: quarter octaves of its activity
_PARAMETER = 6 << FRACTION  # what learning one probability costs, about
_MODEL = 64 << FRACTION  # what the distribution of the rows' and columns' numbers takes, about
_CHUNK = 1 << 17  # symbols worked on at a time
# 2**16 * 2**((2 k + 1) / 8): the borders between quarter octaves.
_OCTAVES = np.array([isqrt(isqrt(isqrt(1 << 128 + 2 * k + 1))) for k in range(-_REACH, _REACH)])


def fit(symbols: np.ndarray, cut: Cut) -> tuple[Head, int]:
    """Returns a head without a tail that codes the symbols in few bytes, and about how many bits they take.

    Args:
        symbols: (n,) uint8 in C order; what fills up the last tile is not among them.
        cut: How the tensor is cut.
    """
    counts = np.bincount(symbols)
    middle = _middle(counts)
    whole = symbols[: len(symbols) // cut.positions * cut.positions].reshape(-1, cut.positions)
    borders = _borders(whole, cut, middle, counts.size)
    slot_bits = 14 if counts.size > 64 or symbols.size >= 1 << 20 else 13
    head = Head(LEAST_LANES, 0, slot_bits, middle, borders, share_levels(counts))
    bits = int(code_length(counts))
    if len(whole) == cut.kernels and cut.kernels > 1 and cut.rows + cut.columns <= MAX_SENT:
        head, bits = _with_classes(head, whole, cut)
    bits >>= FRACTION
    return head._replace(lanes=_lanes(bits, symbols.size)), bits


def tails(lanes: int, bits: int, cut: Cut) -> Iterator[int]:
    """Yields tails worth trying, the last of them 0, which always succeeds.

    The blocks of one width must leave a word for as many lanes more as they have.

    Args:
        lanes: Number of lanes at the start.
        bits: About what all symbols take.
        cut: How the tensor is cut.
    """
    least = -(-16 * cut.kernels // max(bits, 1))
    yield from range(least, min(MAX_TAIL, least + 3, cut.kernels // (4 * lanes)) + 1)
    yield 0


def _middle(counts: np.ndarray) -> int:
    """Returns twice the symbol that half of the symbols are below, or the most frequent if it stands out."""
    total, mode = int(counts.sum()), int(counts.argmax())
    if int(counts[mode]) * 4 >= total:
        return 2 * mode
    return 2 * int(np.searchsorted(np.cumsum(counts), total // 2, side="right"))


def _borders(symbols: np.ndarray, cut: Cut, middle: int, levels: int) -> tuple[int, ...]:
    """Returns the borders between sums of scores that code a sample smallest."""
    sample = symbols[:: max(symbols.size // _SAMPLE, 1)]
    sums = score_sums(sample, cut, middle).reshape(-1).astype(np.int64)
    sizes = np.sort(abs(sums[sums != 0]))
    if not sizes.size:
        return (0,) * BORDERS
    places = [sizes.size * sixteenths // 16 for sixteenths in _CANDIDATES]
    found = sorted({min(int(sizes[place]), 511) for place in places})
    found += [511] * (BORDERS - len(found))
    reach = int(sizes[-1])
    counts = np.bincount((sums + reach) * levels + sample.reshape(-1), minlength=(2 * reach + 1) * levels)
    counts = counts.reshape(-1, levels)
    every = np.arange(-reach, reach + 1)

    def bits(borders: tuple[int, ...]) -> int:
        merged = np.zeros((SUMS, levels), np.int64)
        np.add.at(merged, sum_contexts(every, borders), counts)
        return int(code_length(merged).sum())

    return min(combinations(found, BORDERS), key=bits)


def _with_classes(head: Head, symbols: np.ndarray, cut: Cut) -> tuple[Head, int]:
    """Returns the head with the classes of kernels that pay most, and what the symbols then take.

    Args:
        head: A head of one class.
        symbols: (kernels, positions) uint8.
        cut: How the tensor is cut.

    Returns:
        The head, and a number of bits in units of 2**-16.
    """
    rows, columns = _numbers(symbols, cut, head.middle)
    numbers = np.concatenate([rows, columns])
    sent = int(code_length(np.bincount(numbers))) + _MODEL
    counts = _counts(symbols, (rows[:, None] + columns).reshape(-1), cut, head)
    best = head, 1 << 62
    for classes in _CLASSES:
        shift = _shift(counts.sum((1, 2)), classes)
        merged = np.zeros((classes, *counts.shape[1:]), np.int64)
        np.add.at(merged, np.clip(np.arange(len(counts)) - shift, 0, classes - 1), counts)
        learnt = _PARAMETER * int(np.count_nonzero(merged))
        bits = int(code_length(merged).sum()) + learnt + (sent if classes > 1 else 0)
        if bits < best[1]:
            best = head._replace(classes=classes, shift=shift, numbers=numbers), bits
    return best


def _counts(symbols: np.ndarray, sums: np.ndarray, cut: Cut, head: Head) -> np.ndarray:
    """Returns how often each symbol occurs by sum of numbers and sum of scores, (sums, SUMS, levels) int64.

    Args:
        symbols: (kernels, positions) uint8.
        sums: (kernels,) int64, of the numbers of the kernel's row and column.
        cut: How the tensor is cut.
        head: The head, for middle and borders.
    """
    levels, reach = len(head.levels), 4 * MAX_LEVELS
    shape = int(sums.max()) + 1, SUMS, levels
    counts = np.zeros(prod(shape), np.int64)
    context_of = sum_contexts(np.arange(-reach, reach + 1), head.borders) * levels
    step = max(_CHUNK // cut.positions, 1)
    for low in range(0, len(symbols), step):
        part = symbols[low : low + step]
        found = context_of.take(score_sums(part, cut, head.middle) + np.int16(reach))
        found += part
        found += (sums[low : low + step] * (SUMS * levels))[:, None]
        counts += np.bincount(found.reshape(-1), minlength=counts.size)
    return counts.reshape(shape)


def _shift(counts: np.ndarray, classes: int) -> int:
    """Returns which sum of two numbers is class 0, so that as much lies below the classes as above."""
    cumulated, total = np.cumsum(counts), int(counts.sum())
    half = int(np.searchsorted(cumulated, total // 2))
    return min(max(half - classes // 2, 0), 63)


def _numbers(symbols: np.ndarray, cut: Cut, middle: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of rows and columns: quarter octaves of their mean distance to the middle."""
    distance = np.minimum(abs(2 * np.arange(MAX_LEVELS) - middle), 255).astype(np.uint8)
    each = np.zeros((cut.rows, cut.columns), np.int64)
    flat = each.reshape(-1)
    for low in range(0, len(symbols), _CHUNK):
        flat[low : low + _CHUNK] = distance.take(symbols[low : low + _CHUNK]).sum(1, dtype=np.int64)
    total = max(int(each.sum()), 1)
    rows = _octaves(each.sum(1) * cut.rows, total)
    columns = _octaves(each.sum(0) * cut.columns, total)
    return rows - rows.min(), columns - columns.min()


def _octaves(activity: np.ndarray, total: int) -> np.ndarray:
    """Returns in which quarter octave each number lies, against their mean."""
    return np.searchsorted(_OCTAVES, (activity << 16) // total, side="right")


def _lanes(bits: int, count: int) -> int:
    """Returns the number of lanes that costs about as much as it saves, 8 to 2048."""
    lanes = LEAST_LANES
    while lanes < MAX_LANES and ((2 * lanes) ** 2 * 32 <= bits * 9 or (lanes**2 << 7) < count):
        lanes *= 2
    return lanes
