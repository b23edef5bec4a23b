"""Symbols by rANS with one fixed distribution per stream: within a fraction of a percent of the entropy.

The model is a histogram of quantised log-probabilities (in 1/1, 1/2 or 1/4 of a bit), coded in front of the
symbols in the same stream. Its bins are 1, 2, 4 or 8 symbols wide: a few hundred values of many levels do not
pay for a probability each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pithnet.coding.errors import CodingError
from pithnet.coding.rans import LOW, PROB_BITS, SLOT, TOTAL, Decoder, Encoder
from pithnet.coding.smallints import MAX_VALUE, get_vector, put_vector
from pithnet.coding.work import Spend, unlimited

MAX_SYMBOLS = 1024  # more symbols would leave too few of the 2**14 slots per symbol
FINENESS = (1, 2, 4)  # quantisation steps per bit
_SET_UP_WORK, _SYMBOL_WORK, _BYTE_WORK = 8000, 13, 10
BINS = (1, 2, 4, 8)  # symbols with the same probability
# 2**32 * 2**(-i / 4) for i = 0 .. 3: numbers of the format, since other roundings give other frequencies.
_QUARTERS = (4_294_967_296, 3_611_622_602, 3_037_000_499, 2_553_802_833)


class _Model(NamedTuple):
    """What a stream begins with.

    Attributes:
        fineness: An index into FINENESS.
        bins: An index into BINS.
        levels: A level for each bin.
    """

    fineness: int
    bins: int
    levels: list[int]

    def put(self, out: Encoder) -> None:
        out.put_field(self.fineness, 2)
        out.put_field(self.bins, 2)
        put_vector(out, self.levels)

    @classmethod
    def get(cls, stream: Decoder, spend: Spend) -> _Model:
        model = cls(stream.field(2), stream.field(2), get_vector(stream, spend))
        size = len(model.levels) * BINS[model.bins]
        if model.fineness >= len(FINENESS) or size > MAX_SYMBOLS or not any(model.levels):
            raise CodingError("the symbol model is out of range: the stream is damaged")
        return model

    def frequencies(self) -> np.ndarray:
        """Returns the shares of 2**14 slots, one per symbol."""
        steps = FINENESS[self.fineness]
        weights = np.array([level_weight(level, steps) for level in self.levels], np.int64)
        return apportion(np.repeat(weights, BINS[self.bins]))


def encode(symbols: np.ndarray) -> bytes:
    """Codes a flat array of non-negative integers.

    Raises:
        CodingError: There are more than 1,024 levels, which "huffman" takes.
    """
    if symbols.size == 0:
        return b""
    counts = np.bincount(symbols)
    if counts.size > MAX_SYMBOLS:
        raise CodingError(f"rans codes up to {MAX_SYMBOLS} levels, not {counts.size}: use method 'huffman'")
    model = _fit(counts)
    freqs = model.frequencies()
    out = Encoder()
    model.put(out)
    starts = np.cumsum(freqs) - freqs
    out.starts += starts[symbols].tolist()
    out.freqs += freqs[symbols].tolist()
    return out.bytes()


def _fit(counts: np.ndarray) -> _Model:
    """Returns the model that codes symbols with these counts smallest, itself included."""
    widths = range(len(BINS) if counts.size > 4 * BINS[-1] else 1)
    models = [_quantised(counts, fineness, bins) for fineness in range(len(FINENESS)) for bins in widths]
    return min(models, key=lambda model: _bits(model, counts))


def _quantised(counts: np.ndarray, fineness: int, bins: int) -> _Model:
    width, steps = BINS[bins], FINENESS[fineness]
    binned = np.pad(counts, (0, -counts.size % width)).reshape(-1, width).sum(1)
    p = np.maximum(binned, 1) / counts.sum()
    rounded = np.clip(np.rint(-steps * np.log2(p)), 0, MAX_VALUE - 1).astype(int)
    return _Model(fineness, bins, np.where(binned > 0, rounded + 1, 0).tolist())


def _bits(model: _Model, counts: np.ndarray) -> float:
    head = Encoder()
    model.put(head)
    seen = counts > 0
    freqs = model.frequencies()[: counts.size][seen]
    return float(-(counts[seen] * np.log2(freqs / TOTAL)).sum() - np.log2(np.array(head.freqs) / TOTAL).sum())


def decode(data: bytes, count: int, spend: Spend = unlimited) -> np.ndarray:
    """Reads the symbols that `encode` wrote.

    Args:
        data: The stream.
        count: How many symbols it holds.
        spend: Gets the work that is about to be done.

    Returns:
        (count,) uint8 if the model has at most 256 symbols, else uint16.

    Raises:
        CodingError: The stream is damaged.
    """
    if count == 0:
        return np.zeros(0, np.uint8)
    stream = Decoder(data)
    freqs = _Model.get(stream, spend).frequencies()
    spend(_SET_UP_WORK + _SYMBOL_WORK * count + _BYTE_WORK * len(data))
    out = decode_with(stream, freqs, count)
    stream.finish()
    return out


def decode_with(stream: Decoder, freqs: np.ndarray, count: int) -> np.ndarray:
    """Reads symbols that all have the same distribution, and moves the stream past them.

    Args:
        stream: Stands at the first of them.
        freqs: (alphabet,) shares of 2**14 slots.
        count: How many there are.

    Returns:
        (count,) uint8 if the alphabet has at most 256 symbols, else uint16.
    """
    symbol_of = np.repeat(np.arange(freqs.size, dtype=np.uint16), freqs).data
    freq = freqs.tolist()
    bias = (np.cumsum(freqs) - freqs).tolist()
    x, at, data, end = stream.x, stream.at, stream.data, len(stream.data)
    out = [0] * count
    for n in range(count):
        slot = x & SLOT
        s = symbol_of[slot]
        out[n] = s
        x = freq[s] * (x >> PROB_BITS) + slot - bias[s]
        while x < LOW and at < end:
            x = x << 8 | data[at]
            at += 1
    stream.x, stream.at = x, at
    return np.array(out, np.uint8 if freqs.size <= 256 else np.uint16)


def apportion(weights: np.ndarray) -> np.ndarray:
    """Shares 2**14 slots in proportion to weights, with at least one slot for each positive weight.

    The largest weight takes the rounding. The arithmetic is that of integers, so every machine gets the same.

    Args:
        weights: (symbols,) non-negative int64 below 2**40.

    Returns:
        (symbols,) int64 that sum to 2**14.

    Raises:
        CodingError: Too many weights are positive for each to have a slot.
    """
    shares = weights * TOTAL // int(weights.sum())
    shares[(shares == 0) & (weights > 0)] = 1
    largest = int(shares.argmax())
    shares[largest] += TOTAL - int(shares.sum())
    if shares[largest] < 1:
        raise CodingError("the symbol model gives too many symbols a share: the stream is damaged")
    return shares


def level_weight(level: int, steps: int) -> int:
    """Returns 2**32 * 2**-((level - 1) / steps), at least 1, and 0 for level 0.

    Args:
        level: 0 to 255.
        steps: 1, 2 or 4 levels for a factor of 2.
    """
    if level == 0:
        return 0
    whole, part = divmod(level - 1, steps)
    return max(_QUARTERS[part * 4 // steps] >> whole, 1)
