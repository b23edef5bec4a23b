"""What a `lanes` stream begins with: the number of lanes, the borders of contexts, and two distributions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pithnet.coding.errors import CodingError
from pithnet.coding.integer_log import FRACTION, log2_fixed
from pithnet.coding.rans import TOTAL, Decoder, Encoder
from pithnet.coding.rans_symbols import apportion, decode_with, level_weight
from pithnet.coding.smallints import MAX_VALUE, get_vector, put_vector
from pithnet.coding.tiles import LEAST_LANES, Cut
from pithnet.coding.work import Spend, unlimited

MAX_LEVELS = 256
MAX_LANES = 2048
MAX_SENT = 1 << 16  # rows and columns with a class of their own
MAX_TAIL = 15
BORDERS = 3
_NUMBER_WORK = 14
_LEAST_SLOT_BITS = 11
_STEPS = 2  # of a level of the distributions, to the bit
_SCORE_BITS, _CLASS_BITS = 9, 4  # fields of middle and borders; of the number of classes


class Head(NamedTuple):
    """What a stream says before its lanes.

    Attributes:
        lanes: Number of lanes at the start, a power of two, 8 to 2048.
        tail: Blocks of each width in the tail, 0 for no tail.
        slot_bits: Frequencies add up to 2**slot_bits; 11 to 14.
        middle: Twice the symbol that has the score 0.
        borders: Three sums of scores, at each of which another context begins.
        levels: Of each symbol's share at the start: 0 if it does not occur, else 1 - 2 log2(share).
        classes: Number of classes of kernels, 1 to 16.
        shift: What is taken off the sum of a row's and a column's number.
        numbers: (rows + columns,) int64, a number for each row, then each column; one class needs none.
    """

    lanes: int
    tail: int
    slot_bits: int
    middle: int
    borders: tuple[int, ...]
    levels: list[int]
    classes: int = 1
    shift: int = 0
    numbers: np.ndarray = np.zeros(0, np.int64)

    def put(self, out: Encoder) -> None:
        """Appends the head to a stream."""
        out.put_field((self.lanes // LEAST_LANES).bit_length() - 1, 4)
        out.put_field(self.tail, 4)
        out.put_field(self.slot_bits - _LEAST_SLOT_BITS, 2)
        for score in (self.middle, *self.borders):
            out.put_field(score, _SCORE_BITS)
        put_vector(out, self.levels)
        out.put_field(self.classes - 1, _CLASS_BITS)
        if self.classes > 1:
            out.put_field(self.shift, 6)
            levels = share_levels(np.bincount(self.numbers))
            put_vector(out, levels)
            freqs = shares(levels)
            starts = np.cumsum(freqs) - freqs
            out.starts += starts[self.numbers].tolist()
            out.freqs += freqs[self.numbers].tolist()

    @classmethod
    def get(cls, stream: Decoder, cut: Cut, spend: Spend = unlimited) -> Head:
        """Reads the head.

        Args:
            stream: Stands where `put` began.
            cut: How the tensor is cut.
            spend: Gets the work that is about to be done.

        Raises:
            CodingError: A field is out of its range, or the tensor has too many rows and columns for classes.
        """
        lanes, tail = LEAST_LANES << stream.field(4), stream.field(4)
        slot_bits = _LEAST_SLOT_BITS + stream.field(2)
        middle, *borders = (stream.field(_SCORE_BITS) for _ in range(1 + BORDERS))
        levels = get_vector(stream, spend)
        if lanes > MAX_LANES or len(levels) > MAX_LEVELS or not any(levels):
            raise CodingError("the head of the lanes is out of range: the stream is damaged")
        classes = stream.field(_CLASS_BITS) + 1
        head = cls(lanes, tail, slot_bits, middle, tuple(borders), levels, classes)
        if classes == 1:
            return head
        if cut.rows + cut.columns > MAX_SENT:
            raise CodingError(f"{cut.rows} rows and {cut.columns} columns are too many for classes")
        shift, model = stream.field(6), get_vector(stream, spend)
        if len(model) > 64 or not any(model):
            raise CodingError("the classes of the lanes are out of range: the stream is damaged")
        spend(_NUMBER_WORK * (cut.rows + cut.columns))
        numbers = decode_with(stream, shares(model), cut.rows + cut.columns).astype(np.int64)
        return head._replace(shift=shift, numbers=numbers)

    def kernel_classes(self, cut: Cut) -> np.ndarray:
        """Returns the class of each kernel, (kernels,) uint8."""
        if self.classes == 1:
            return np.zeros(cut.kernels, np.uint8)
        rows, columns = self.numbers[: cut.rows], self.numbers[cut.rows :]
        sums = (rows.astype(np.int16) - self.shift)[:, None] + columns.astype(np.int16)
        return np.clip(sums, 0, self.classes - 1, out=sums).astype(np.uint8).reshape(-1)


def share_levels(counts: np.ndarray) -> list[int]:
    """Returns the level of each symbol's share, in half bits, from how often each occurs."""
    bits = int(log2_fixed(counts.sum()[None])[0]) - log2_fixed(np.maximum(counts, 1))
    rounded = (_STEPS * bits + (1 << FRACTION - 1)) >> FRACTION
    return np.where(counts > 0, np.minimum(rounded, MAX_VALUE - 1) + 1, 0).tolist()


def shares(levels: list[int]) -> np.ndarray:
    """Returns the share of each symbol in 2**14, int64, from their levels."""
    return apportion(np.array([level_weight(level, _STEPS) for level in levels], np.int64))


def most_frequent(levels: list[int]) -> int:
    """Returns the first symbol that no other has a larger share than: it fills up the last tile."""
    return int(np.argmax(shares(levels)))


__all__ = ["BORDERS", "MAX_LEVELS", "TOTAL", "Head", "most_frequent", "share_levels", "shares"]
