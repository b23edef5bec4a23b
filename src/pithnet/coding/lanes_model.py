"""The adaptive model of `lanes`: which context a symbol has, and the distribution of each context.

A context is a class of kernels and a sum of scores. The score of symbol s is 2 s - middle, the sum is that of
the symbols to the left and above in the kernel, and its sign and size give nine contexts. Distributions are
those of the symbols counted so far, and are made anew at fixed blocks. All of this is in integers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pithnet.coding.lanes_head import Head, shares
from pithnet.coding.tiles import Cut

SUMS = 9  # contexts by sum of scores, for each class of kernels
OWN = 24  # symbols that the shares of the head count for, in each context


def sum_contexts(sums: np.ndarray, borders: tuple[int, ...]) -> np.ndarray:
    """Returns the context of each sum of scores, 0 to 8, int64.

    Args:
        sums: Integers of any shape.
        borders: Sizes of sums above which another context begins.
    """
    beyond = sum(
        ((abs(sums) > border).astype(np.int64) for border in borders), np.zeros(sums.shape, np.int64)
    )
    return np.where(sums == 0, 0, 1 + 2 * beyond + (sums > 0))


def stretches(blocks: int) -> Iterator[tuple[int, int]]:
    """Yields the stretches of blocks (low, high) that are coded with the same distributions."""
    low, size = 0, 1
    while low < blocks:
        yield low, min(low + size, blocks)
        low, size = low + size, size + size // 2 + 1


class Model:
    """Counts of symbols by context, and what follows from them.

    A symbol in a context has the identity context * levels + symbol.

    Args:
        head: The stream's head.
    """

    def __init__(self, head: Head) -> None:
        self.levels = len(head.levels)
        self.bits = head.slot_bits
        self.contexts = head.classes * SUMS
        self._shares = shares(head.levels)
        self._counts = np.zeros((self.contexts, self.levels), np.int64)

    def frequencies(self) -> np.ndarray:
        """Returns (contexts, levels) int64, shares of 2**slot_bits; 0 for a symbol that does not occur."""
        weights = (self._counts << 14) + OWN * self._shares
        possible = self._shares > 0
        free = (1 << self.bits) - int(np.count_nonzero(possible))
        freqs = possible + weights * free // weights.sum(1, keepdims=True)
        freqs[np.arange(self.contexts), freqs.argmax(1)] += (1 << self.bits) - freqs.sum(1)
        return freqs

    def learn(self, identities: np.ndarray) -> None:
        """Counts symbols, given by their identities."""
        self.add(np.bincount(identities.reshape(-1), minlength=self._counts.size))

    def add(self, seen: np.ndarray) -> None:
        """Adds how often each identity was seen, (contexts * levels,) int64."""
        self._counts += seen.reshape(self._counts.shape)


def identities(symbols: np.ndarray, classes: np.ndarray, cut: Cut, head: Head) -> np.ndarray:
    """Returns the identity of each symbol, (kernels, positions) uint16.

    Args:
        symbols: (kernels, positions) uint8.
        classes: (kernels,) uint8.
        cut: How the tensor is cut.
        head: The stream's head.
    """
    levels = len(head.levels)
    most = 2 * max(head.middle, 2 * levels)
    context_of = sum_contexts(np.arange(-most, most + 1), head.borders).astype(np.uint16) * np.uint16(levels)
    sums = score_sums(symbols, cut, head.middle)
    sums += most
    found = context_of.take(sums)
    found += symbols
    found += (classes.astype(np.uint16) * np.uint16(SUMS * levels))[:, None]
    return found


def score_sums(symbols: np.ndarray, cut: Cut, middle: int) -> np.ndarray:
    """Returns the sums of the scores to the left and above, (kernels, positions) int16.

    Args:
        symbols: (kernels, positions) uint8.
        cut: How the tensor is cut.
        middle: Twice the symbol that has the score 0.
    """
    scores = (symbols.astype(np.int16) * np.int16(2) - np.int16(middle)).reshape(
        len(symbols), cut.positions // cut.width, cut.width
    )
    sums = np.zeros_like(scores)
    sums[:, :, 1:] = scores[:, :, :-1]
    sums[:, 1:] += scores[:, :-1]
    return sums.reshape(symbols.shape)
