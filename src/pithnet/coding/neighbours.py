"""Symbols in the context of their neighbours in the kernel: rANS with adaptive distributions.

Trained kernels are smooth: a weight has the sign, and about the size, of the weights to its left and above.
Symbols are levels in ascending order, so the sum of the two neighbours' levels, counted from the middle one,
tells much about the next. There are five contexts: a sum of zero (which it is without neighbours), below,
above, far below and far above. Each has a distribution, learnt while coding and relearnt at fixed points of
the stream, so that both sides agree and the encoder is vectorised.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from pithnet.coding.errors import CodingError
from pithnet.coding.rans import LOW, PROB_BITS, SLOT, TOTAL, Decoder, Encoder
from pithnet.coding.work import Spend, unlimited

MAX_LEVELS = 256
CONTEXTS = 5
OWN = 10  # symbols the distribution over all contexts counts for, in a context's own
FIRST, GROWTH = 16, 1.5  # symbols before the first update, and how much longer each stretch is than the last
_SYMBOL_WORK, _BYTE_WORK, _STRETCH_WORK, _LEVEL_WORK = 40, 20, 10_000, 200
_CAP = 1 << 16  # counts are halved beyond this

_Row = tuple[list[int], list[tuple[int, int, int]]]  # of a context: interval ends, then (freq, start, score)


def neighbours(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds, for every True of a mask in C order, the symbols to its left and above it in a 2-D kernel.

    Returns:
        Two int64 arrays, (Trues,); symbols count from 1, and 0 stands for none.
    """
    at = np.flatnonzero(mask)  # memory for the symbols only: there may be few of them in a large mask
    left, above = np.zeros_like(at), np.zeros_like(at)
    if mask.ndim >= 2:
        width = mask.shape[-1]
        left = _symbols_at(at, at - 1, at % width > 0)
    if mask.ndim >= 4:
        above = _symbols_at(at, at - width, at // width % mask.shape[-2] > 0)
    return left, above


def _symbols_at(at: np.ndarray, wanted: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns which symbol stands at each place `wanted`; 0 for none, and where it is not `inside`."""
    symbol = np.searchsorted(at, wanted)  # below at.size: each place lies before one of `at`
    return np.where(inside & (at[symbol] == wanted), symbol + 1, 0) if at.size else at


def _stretches(count: int) -> Iterator[tuple[int, int]]:
    """Yields the stretches (low, high) of the stream coded with the same distributions."""
    low, size = 0, float(FIRST)
    while low < count:
        high = min(low + int(size), count)
        yield low, high
        low, size = high, size * GROWTH


class _Model:
    """Which context a symbol has, and the adaptive distribution of each context.

    The score of level s is 2 s - middle; a context says which sign the sum of two scores has and whether it
    is beyond `far`.
    """

    def __init__(self, levels: int, middle: int, far: int) -> None:
        self.counts = np.zeros((CONTEXTS, levels), np.int64)
        self.score_of = 2 * np.arange(levels) - middle
        sums = np.concatenate(
            [np.arange(4 * levels + 1), np.arange(-4 * levels, 0)]
        )  # a negative sum is an index
        self.context_of = np.where(sums == 0, 0, np.where(sums < 0, 1, 2) + 2 * (abs(sums) > far))

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns (starts, freqs), both (contexts, levels)."""
        prior = 2 * self.counts.sum(0) + 1
        weights = self.counts * int(prior.sum()) + OWN * prior
        levels = weights.shape[1]
        freqs = 1 + weights * (TOTAL - levels) // weights.sum(1, keepdims=True)
        freqs[np.arange(CONTEXTS), freqs.argmax(1)] += TOTAL - freqs.sum(1)
        return np.cumsum(freqs, 1) - freqs, freqs

    def rows(self) -> list[_Row]:
        """Returns what the hot loop needs, by sum of scores."""
        starts, freqs = self.intervals()
        scores = self.score_of.tolist()
        rows = [
            (start[1:], list(zip(freq, start, scores, strict=True)))
            for start, freq in zip(starts.tolist(), freqs.tolist(), strict=True)
        ]
        return [rows[context] for context in self.context_of.tolist()]

    def learn(self, contexts: np.ndarray, symbols: np.ndarray) -> None:
        levels = self.counts.shape[1]
        seen = np.bincount(contexts * levels + symbols, minlength=CONTEXTS * levels)
        self.counts += seen.reshape(CONTEXTS, levels)
        while self.counts.sum() > _CAP:
            self.counts >>= 1


def encode(symbols: np.ndarray, mask: np.ndarray) -> bytes:
    """Codes the symbols at the true positions of a mask.

    Args:
        symbols: (Trues of the mask,) integers 0..255, in C order.
        mask: Booleans of the tensor's shape.

    Raises:
        CodingError: There are more than 256 levels.
    """
    if symbols.size == 0:
        return b""
    levels = int(symbols.max()) + 1
    if levels > MAX_LEVELS:
        raise CodingError(f"'neighbours' codes up to {MAX_LEVELS} levels, not {levels}: use method 'huffman'")
    flat = symbols.astype(np.int64)
    width = levels.bit_length()
    middle, far = round(2 * float(flat.mean())), round(float(flat.std()))
    model = _Model(levels, middle, far)
    score = np.concatenate([[0], model.score_of[flat]])
    left, above = neighbours(mask)
    context = model.context_of[score[left] + score[above]]
    out = Encoder()
    out.put_field(levels - 1, 8)
    out.put_field(middle, width + 1)
    out.put_field(far, width)
    for low, high in _stretches(flat.size):
        starts, freqs = model.intervals()
        here = context[low:high], flat[low:high]
        out.starts += starts[here].tolist()
        out.freqs += freqs[here].tolist()
        model.learn(*here)
    return out.bytes()


def decode(data: bytes, count: int, mask: np.ndarray, spend: Spend = unlimited) -> np.ndarray:
    """Reads the symbols that `encode` wrote.

    Args:
        data: The stream.
        count: Number of symbols.
        mask: The mask that was given to `encode`.
        spend: Gets the work that is about to be done.

    Returns:
        (count,) uint8.

    Raises:
        CodingError: The stream is damaged.
    """
    if count == 0:
        return np.zeros(0, np.uint8)
    stream = Decoder(data)
    levels = stream.field(8) + 1
    middle, far = stream.field(levels.bit_length() + 1), stream.field(levels.bit_length())
    if middle > 2 * levels:
        raise CodingError("the symbol model is out of range: the stream is damaged")
    remade = sum(1 for _ in _stretches(count))
    spend(_SYMBOL_WORK * count + _BYTE_WORK * len(data) + remade * (_STRETCH_WORK + _LEVEL_WORK * levels))
    model = _Model(levels, middle, far)
    left, above = neighbours(mask)
    near = list(zip(left.tolist(), above.tolist(), strict=True))
    scores, known = [0], np.zeros(count + 1, np.int64)
    for low, high in _stretches(count):
        _decode_stretch(stream, scores, near[low:high], model.rows())
        known[low + 1 : high + 1] = scores[low + 1 :]
        context = model.context_of[known[left[low:high]] + known[above[low:high]]]
        model.learn(context, (known[low + 1 : high + 1] + middle) >> 1)
    stream.finish()
    return ((known[1:] + middle) >> 1).astype(np.uint8)


def _decode_stretch(
    stream: Decoder, scores: list[int], near: list[tuple[int, int]], rows: list[_Row]
) -> None:
    """Decodes one stretch and appends to `scores`: the hot loop, with the rANS decoder inlined."""
    x, at, data, end = stream.x, stream.at, stream.data, len(stream.data)
    put, find = scores.append, bisect_right
    for left, above in near:
        ends, entries = rows[scores[left] + scores[above]]
        slot = x & SLOT
        freq, start, score = entries[find(ends, slot)]
        x = freq * (x >> PROB_BITS) + slot - start
        while x < LOW and at < end:
            x = x << 8 | data[at]
            at += 1
        put(score)
    stream.x, stream.at = x, at
