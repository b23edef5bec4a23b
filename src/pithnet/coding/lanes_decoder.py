"""The decoder of `lanes`: the hot loop, in which a step costs about twenty calls of numpy."""

from __future__ import annotations

import numpy as np

from pithnet.coding.errors import CodingError
from pithnet.coding.lanes_head import Head
from pithnet.coding.lanes_model import SUMS, Model, stretches, sum_contexts
from pithnet.coding.lanes_states import FREQ, LOW, SHIFT, SYMBOL, WORD, StatesReader, entries
from pithnet.coding.tiles import Cut, blocks_of
from pithnet.coding.work import Spend, unlimited

_STEP_WORK, _TABLE_WORK, _SLOTS_FOR_ONE = 650, 20, 16


class _Contexts:
    """Where the slots of a context begin, by class and by none, one or two neighbours.

    Attributes:
        tables: for 0, 1 and 2 neighbours (classes * sums,) int64.
        spans: how many sums of symbols each has for a class.
    """

    def __init__(self, head: Head) -> None:
        levels = len(head.levels)
        self.spans = (1, levels, 2 * levels - 1)
        first = SUMS * np.arange(head.classes)[:, None]
        self.tables = [
            (
                first + sum_contexts(2 * np.arange(span) - n * head.middle, head.borders) << head.slot_bits
            ).reshape(-1)
            for n, span in enumerate(self.spans)
        ]


def decode_blocks(data: memoryview, cut: Cut, head: Head, spend: Spend = unlimited) -> np.ndarray:
    """Reads all blocks.

    Args:
        data: the states, then the words.
        cut: how the tensor is cut.
        head: the stream's head.
        spend: gets the work that is about to be done.

    Returns:
        (kernels, positions) uint8.

    Raises:
        CodingError: The stream is damaged.
    """
    blocks = blocks_of(cut.kernels, head.lanes, head.tail)
    if blocks is None:
        raise CodingError("the tail of the lanes has more kernels than the tensor: the stream is damaged")
    spend(_work(len(blocks), cut, head))
    states, model, contexts = StatesReader(data, head.lanes), Model(head), _Contexts(head)
    classes = head.kernel_classes(cut)
    found = np.empty((cut.kernels, cut.positions), np.uint8)
    symbols = np.empty((cut.positions, head.lanes), np.int64)
    known = np.empty((cut.positions, head.lanes), np.uint16)
    low, alive = 0, head.lanes
    for first, last in stretches(len(blocks)):
        freqs = model.frequencies()
        table = entries(freqs)
        slots = np.repeat(np.arange(freqs.size, dtype=np.uint16), freqs.reshape(-1))
        for width, lanes in blocks[first:last]:
            if lanes < alive:
                states.leave(lanes, alive)
                alive = lanes
            here = slice(low, low + width)
            views = symbols[:, :width], known[:, :width]
            _decode_block(states, classes[here], cut.width, contexts, slots, table, head.slot_bits, *views)
            found[here] = views[0].T
            if last < len(blocks):
                model.learn(views[1])
            low += width
    states.finish(alive)
    return found


def _work(blocks: int, cut: Cut, head: Head) -> int:
    """Returns what all blocks take: calls of numpy, symbols, and distributions that are made anew."""
    remade = sum(1 for _ in stretches(blocks)) * SUMS * head.classes
    each = _TABLE_WORK * len(head.levels) + (1 << head.slot_bits) // _SLOTS_FOR_ONE
    return blocks * cut.positions * _STEP_WORK + cut.kernels * cut.positions + remade * each


def _decode_block(
    states: StatesReader,
    classes: np.ndarray,
    width: int,
    contexts: _Contexts,
    slots: np.ndarray,
    table: np.ndarray,
    bits: int,
    symbols: np.ndarray,
    known: np.ndarray,
) -> None:
    """Decodes a block into `symbols` and the identities `known`, both (positions, lanes): the hot loop.

    Results go into arrays that are there already, and numbers are arrays without axes: both save a third.
    """
    lanes = len(classes)
    x, words, at, end = states.states[:lanes], states.words, states.at, len(states.words)
    where, entry, part, need = (np.empty(lanes, t) for t in (np.int64, np.int64, np.int64, bool))
    bases = [classes.astype(np.int64) * span for span in contexts.spans]
    shift, mask = np.array(bits), np.array((1 << bits) - 1)
    for j, symbol in enumerate(symbols):
        left, above = j % width > 0, j >= width
        if left and above:
            np.add(symbols[j - 1], symbols[j - width], where)
            np.add(where, bases[2], where)
        elif left or above:
            np.add(symbols[j - 1 if left else j - width], bases[1], where)
        else:
            where[:] = bases[0]
        contexts.tables[left + above].take(where, None, part, "wrap")
        np.bitwise_and(x, mask, where)
        np.add(part, where, part)
        slots.take(part, None, known[j], "wrap")
        table.take(known[j], None, entry, "wrap")
        np.right_shift(entry, SYMBOL, symbol)
        np.right_shift(x, shift, x)
        np.right_shift(entry, SHIFT, part)
        np.bitwise_and(part, FREQ, part)
        np.multiply(x, part, x)
        np.add(x, where, x)
        np.bitwise_and(entry, FREQ, entry)
        np.subtract(x, entry, x)
        np.less(x, LOW, need)
        short = need.nonzero()[0]
        if short.size:
            if at + short.size > end:
                raise CodingError("the words of the lanes end too early: the stream is truncated")
            low = x.take(short)
            np.left_shift(low, WORD, low)
            np.bitwise_or(low, words[at : at + short.size], low)
            x[short] = low
            at += short.size
    states.at = at
