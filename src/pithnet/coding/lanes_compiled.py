"""The hot loops of `lanes`, compiled by numba: import this module only where numba is installed.

Each does what `lanes_decoder` and `lanes_states` do with numpy, block by block, in the same integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

_LOW, _WORD = 1 << 16, 16
_SYMBOL, _SHIFT, _PART = 32, 15, (1 << 15) - 1  # of an entry: `lanes_states.entries`


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function compiled, and kept on disk where there is a place for it."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder can be written
        return njit(nogil=True)(function)


@_compiled
def decode_run(
    states: np.ndarray,
    words: np.ndarray,
    at: int,
    found: np.ndarray,
    classes: np.ndarray,
    width: int,
    spans: np.ndarray,
    tables: tuple[np.ndarray, np.ndarray, np.ndarray],
    slots: np.ndarray,
    table: np.ndarray,
    bits: int,
    counts: np.ndarray,
) -> int:
    """Decodes blocks of one width, which share their distributions.

    Args:
        states: (lanes,) int64, changed in place.
        words: All words, uint16.
        at: The next word.
        found: (blocks * lanes, positions) uint8, filled with symbols.
        classes: (blocks * lanes,) uint8.
        width: How many positions lie side by side.
        spans: (3,) how many sums of symbols a class has with 0, 1 and 2 neighbours.
        tables: For 0, 1 and 2 neighbours, where the slots of a context begin.
        slots: The identity of each slot of each context, uint16.
        table: The entry of each identity, int64.
        bits: Frequencies add up to 2**bits.
        counts: (identities,) int64, in which the symbols are counted.

    Returns:
        The next word, or -1 where the words end too early.
    """
    lanes, mask = states.size, (1 << bits) - 1
    none, one, two = tables
    for low in range(0, found.shape[0], lanes):
        for j in range(found.shape[1]):
            left, above = j % width > 0, j >= width
            for lane in range(lanes):
                kernel = low + lane
                kind = np.int64(classes[kernel])
                if left and above:
                    near = np.int64(found[kernel, j - 1]) + np.int64(found[kernel, j - width])
                    base = two[near + kind * spans[2]]
                elif left:
                    base = one[np.int64(found[kernel, j - 1]) + kind * spans[1]]
                elif above:
                    base = one[np.int64(found[kernel, j - width]) + kind * spans[1]]
                else:
                    base = none[kind]
                state = states[lane]
                slot = state & mask
                known = slots[base + slot]
                entry = table[known]
                counts[known] += 1
                found[kernel, j] = entry >> _SYMBOL
                state = (state >> bits) * (entry >> _SHIFT & _PART) + slot - (entry & _PART)
                if state < _LOW:
                    if at >= words.size:
                        return -1
                    state = state << _WORD | np.int64(words[at])
                    at += 1
                states[lane] = state
    return at


@_compiled
def encode_run(
    states: np.ndarray, words: np.ndarray, at: int, known: np.ndarray, table: np.ndarray, bits: int
) -> int:
    """Codes blocks of one width, which share their distributions, from the last to the first.

    Args:
        states: (lanes,) int64, changed in place.
        words: uint16, filled from its end.
        at: The word that was written last.
        known: (blocks * lanes, positions) uint16, the identities of the symbols.
        table: The entry of each identity, int64.
        bits: Frequencies add up to 2**bits.

    Returns:
        The word that was written last.
    """
    lanes = states.size
    for low in range(known.shape[0] - lanes, -1, -lanes):
        for j in range(known.shape[1] - 1, -1, -1):
            for lane in range(lanes - 1, -1, -1):
                entry = table[known[low + lane, j]]
                freq, state = entry >> _SHIFT & _PART, states[lane]
                if state >= freq << 32 - bits:
                    at -= 1
                    words[at] = state & (_LOW - 1)
                    state >>= _WORD
                states[lane] = state + state // freq * ((1 << bits) - freq) + (entry & _PART)
    return at
