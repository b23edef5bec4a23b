"""The decoder of `lanes`: the hot loop, in which a step costs about twenty calls of numpy."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pithnet.coding.compiled import loops
from pithnet.coding.errors import CodingError
from pithnet.coding.lanes_head import Head
from pithnet.coding.lanes_model import SUMS, Model, stretches, sum_contexts
from pithnet.coding.lanes_states import FREQ, LOW, SHIFT, SYMBOL, WORD, StatesReader, entries
from pithnet.coding.tiles import Cut, blocks_of, runs
from pithnet.coding.work import Spend, unlimited

_SHORT = "the words of the lanes end too early: the stream is truncated"
_STEP_WORK, _TABLE_WORK, _SLOTS_FOR_ONE = 650, 20, 16


class _Contexts:
    """Where the slots of a context begin, by class and by none, one or two neighbours.

    Attributes:
        tables: For 0, 1 and 2 neighbours (classes * sums,) int64.
        spans: How many sums of symbols each has for a class.
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
        data: The states, then the words.
        cut: How the tensor is cut.
        head: The stream's head.
        spend: Gets the work that is about to be done.

    Returns:
        (kernels, positions) uint8.

    Raises:
        CodingError: The stream is damaged.
    """
    blocks = blocks_of(cut.kernels, head.lanes, head.tail)
    if blocks is None:
        raise CodingError("the tail of the lanes has more kernels than the tensor: the stream is damaged")
    spend(_work(len(blocks), cut, head))
    states, model, classes = StatesReader(data, head.lanes), Model(head), head.kernel_classes(cut)
    found = np.empty((cut.kernels, cut.positions), np.uint8)
    decoder = _decoder(states, head, cut)
    low, alive = 0, head.lanes
    for first, last in stretches(len(blocks)):
        freqs = model.frequencies()
        slots = np.repeat(np.arange(freqs.size, dtype=np.uint16), freqs.reshape(-1))
        distributions = slots, entries(freqs)
        seen = np.zeros(freqs.size, np.int64)
        for block, number in runs(blocks[first:last]):
            if block.alive < alive:
                states.leave(block.alive, alive)
                alive = block.alive
            here = slice(low, low + number * block.width)
            decoder.decode(found[here], classes[here], block.width, distributions, seen)
            low = here.stop
        model.add(seen)
    states.finish(alive)
    return found


def _decoder(states: StatesReader, head: Head, cut: Cut) -> _Blocks:
    compiled = loops(cut.kernels * cut.positions)
    return _Blocks(states, head, cut) if compiled is None else _CompiledBlocks(states, head, cut, compiled)


class _Blocks:
    """Decodes blocks with numpy, one position of all lanes after the other.

    Args:
        states: The lanes' states and the words.
        head: The stream's head.
        cut: How the tensor is cut.
    """

    def __init__(self, states: StatesReader, head: Head, cut: Cut) -> None:
        self.states, self.bits, self.width = states, head.slot_bits, cut.width
        self.contexts = _Contexts(head)
        self._symbols = np.empty((cut.positions, head.lanes), np.int64)
        self._known = np.empty((cut.positions, head.lanes), np.uint16)

    def decode(
        self,
        found: np.ndarray,
        classes: np.ndarray,
        width: int,
        distributions: tuple[np.ndarray, np.ndarray],
        seen: np.ndarray,
    ) -> None:
        """Decodes blocks of one width that share their distributions.

        Args:
            found: (blocks * width, positions) uint8, filled with symbols.
            classes: (blocks * width,) uint8.
            width: How many kernels each block has.
            distributions: The identity of each slot of each context, and the entry of each identity.
            seen: (identities,) int64, in which the symbols are counted.

        Raises:
            CodingError: The words end too early.
        """
        views = self._symbols[:, :width], self._known[:, :width]
        for low in range(0, len(found), width):
            here = slice(low, low + width)
            _decode_block(
                self.states, classes[here], self.width, self.contexts, *distributions, self.bits, *views
            )
            found[here] = views[0].T
            seen += np.bincount(views[1].reshape(-1), minlength=seen.size)


class _CompiledBlocks(_Blocks):
    """Does the same by compiled loops."""

    def __init__(self, states: StatesReader, head: Head, cut: Cut, compiled: ModuleType) -> None:
        super().__init__(states, head, cut)
        self._decode_run = compiled.decode_run
        self._spans, self._tables = np.array(self.contexts.spans), tuple(self.contexts.tables)

    def decode(
        self,
        found: np.ndarray,
        classes: np.ndarray,
        width: int,
        distributions: tuple[np.ndarray, np.ndarray],
        seen: np.ndarray,
    ) -> None:
        lanes = self.states.states[:width]
        given = self.width, self._spans, self._tables, *distributions, self.bits, seen
        at = self._decode_run(lanes, self.states.words, self.states.at, found, classes, *given)
        if at < 0:
            raise CodingError(_SHORT)
        self.states.at = at


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
                raise CodingError(_SHORT)
            low = x.take(short)
            np.left_shift(low, WORD, low)
            np.bitwise_or(low, words[at : at + short.size], low)
            x[short] = low
            at += short.size
    states.at = at
