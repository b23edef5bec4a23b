"""Positions by kernel: how many weights of each 3x3 kernel are non-zero, then which.

Pruned networks have dense and sparse input and output channels, and kernels vary more than a coin tossed per
weight would. So the number of non-zeros of a kernel is beta-binomial around a density estimated from what is
already coded: its input channel so far (column), times its output channel so far (row) relative to all. The
arrangement depends on the number only, neighbours being likelier than chance. Everything goes through one
rANS stream: four parameters (`kernel_model`), then the kernels in C order.

All model arithmetic is integer or +, -, * and / of doubles, which IEEE 754 rounds exactly, so a file decodes
the same on every machine.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from pithnet.coding.blocks import (
    ArrangementRow,
    Blocks,
    arrangements,
    block_bits,
    blocks_of,
    popcounts,
    unblock,
)
from pithnet.coding.kernel_model import (
    ATTRACTIONS,
    RELATIVE_GRID,
    ROW_STEP,
    SPREADS,
    STRENGTHS,
    CountModel,
    Parameters,
    column_classes,
    count_model,
    overall_density,
    row_classes,
    start_class,
)
from pithnet.coding.rans import LOW, PROB_BITS, SLOT, TOTAL, Decoder, Encoder
from pithnet.coding.work import Spend, unlimited

_SET_UP_WORK, _ROW_WORK, _TILE_WORK, _BYTE_WORK = 20_000, 1000, 24, 40


def encode(mask: np.ndarray) -> bytes:
    """Codes a boolean mask of any shape; the stream holds nothing but four parameters and the kernels."""
    if mask.size == 0:
        return b""
    cut = block_bits(mask.shape)
    values = blocks_of(mask, cut)
    parameters = _fit(values, cut)
    out = Encoder()
    parameters.put(out)
    _put_kernels(out, values, cut, parameters)
    return out.bytes()


def _fit(values: np.ndarray, cut: Blocks) -> Parameters:
    """Returns the parameters that code these blocks smallest."""
    counts = popcounts(values)
    start = Parameters(start_class(float(counts.mean()) / cut.bits))

    def count_bits(spread: int, times: np.ndarray) -> float:
        return float(-(times * np.log2(count_model(cut.bits, spread).freqs)).sum())

    best = []
    for strength in range(len(STRENGTHS)):
        times = _times(_contexts(counts, cut.bits, start._replace(strength=strength)), counts, cut.bits)
        best += [(count_bits(spread, times), spread, strength) for spread in range(len(SPREADS))]
    _, spread, strength = min(best)
    seen = np.bincount(values.ravel(), minlength=1 << cut.bits)

    def arrangement_bits(attraction: int) -> float:
        table = arrangements(cut.bits, cut.width, ATTRACTIONS[attraction])
        return float(-(seen * np.log2(table.freq_of)).sum())

    attraction = min(range(len(ATTRACTIONS)), key=arrangement_bits)
    return start._replace(spread=spread, attraction=attraction, strength=strength)


def _times(contexts: np.ndarray, counts: np.ndarray, bits: int) -> np.ndarray:
    """Counts how often each number of non-zeros occurs in each context, (contexts, numbers)."""
    shape = count_model(bits, 0).freqs.shape
    return np.bincount((contexts * shape[1] + counts).ravel(), minlength=shape[0] * shape[1]).reshape(shape)


def _contexts(counts: np.ndarray, bits: int, parameters: Parameters) -> np.ndarray:
    """Returns the (rows, columns) context of every kernel, as the decoder will find it."""
    rows, columns = counts.shape
    strength = STRENGTHS[parameters.strength]
    above = np.cumsum(counts, axis=0) - counts
    seen = bits * np.arange(rows)[:, None]
    p = overall_density(above.sum(1, keepdims=True), seen * columns, parameters.density())
    before = (np.cumsum(counts, axis=1) - counts)[:, ::ROW_STEP]
    row = row_classes(before, bits * np.arange(0, columns, ROW_STEP), p, strength)
    return column_classes(above, seen, p, strength) + np.repeat(row, ROW_STEP, axis=1)[:, :columns]


def _put_kernels(out: Encoder, values: np.ndarray, cut: Blocks, parameters: Parameters) -> None:
    """Appends two intervals per kernel; the second is dropped where the number leaves no choice."""
    counts = popcounts(values)
    context = _contexts(counts, cut.bits, parameters)
    model = count_model(cut.bits, parameters.spread)
    table = arrangements(cut.bits, cut.width, ATTRACTIONS[parameters.attraction])
    starts = np.stack([model.starts[context, counts], table.start_of[values]], axis=-1)
    freqs = np.stack([model.freqs[context, counts], table.freq_of[values]], axis=-1)
    coded = np.stack([np.ones(counts.shape, bool), (counts > 0) & (counts < cut.bits)], axis=-1)
    out.starts += starts[coded].tolist()
    out.freqs += freqs[coded].tolist()


def decode(data: bytes, shape: tuple[int, ...], spend: Spend = unlimited) -> np.ndarray:
    """Reads the mask that `encode` wrote.

    Args:
        data: The stream.
        shape: The mask's shape.
        spend: Gets the work that is about to be done.

    Raises:
        CodingError: The stream is damaged.
    """
    stream = Decoder(data)
    if 0 in shape:
        stream.finish()
        return np.zeros(shape, bool)
    cut = block_bits(shape)
    spend(_SET_UP_WORK + cut.rows * (_ROW_WORK + cut.columns * _TILE_WORK) + _BYTE_WORK * len(data))
    parameters = Parameters.get(stream)
    model = count_model(cut.bits, parameters.spread)
    table = arrangements(cut.bits, cut.width, ATTRACTIONS[parameters.attraction]).rows
    start, strength = parameters.density(), STRENGTHS[parameters.strength]
    values = np.zeros((cut.rows, cut.columns), np.uint16)
    above = np.zeros(cut.columns, np.int64)
    for row in range(cut.rows):
        seen = cut.bits * row
        p = overall_density(above.sum(), seen * cut.columns, start)
        base = column_classes(above, seen, p, strength).tolist()
        values[row] = _decode_row(stream, base, float(p), strength, cut.bits, model, table)
        above += popcounts(values[row])
    stream.finish()
    return unblock(values, cut, shape)


def _decode_row(
    stream: Decoder,
    base: list[int],
    p: float,
    strength: float,
    bits: int,
    model: CountModel,
    table: list[ArrangementRow],
) -> list[int]:
    """Decodes one output channel: the hot loop, with the rANS decoder inlined.

    Empty and full blocks, which most are where few or most weights are zero, come first.
    """
    x, at, data, end = stream.x, stream.at, stream.data, len(stream.data)
    rows, nones, fulls, find = model.rows, model.nones, model.fulls, bisect_right
    ones, out, place, full = 0, [0] * len(base), 0, (1 << bits) - 1
    prior, prior_zeros, odds = strength * p, strength * (1.0 - p), p / (1.0 - p)
    for low in range(0, len(base), ROW_STEP):
        shift = find(RELATIVE_GRID, (ones + prior) / (bits * low - ones + prior_zeros) / odds)
        for column in base[low : low + ROW_STEP]:
            slot = x & SLOT
            none = nones[column + shift]
            if slot < none:
                x = none * (x >> PROB_BITS) + slot
            elif slot >= fulls[column + shift]:
                start = fulls[column + shift]
                x = (TOTAL - start) * (x >> PROB_BITS) + slot - start
                ones += bits
                out[place] = full
            else:
                ends, entries = rows[column + shift]
                freq, start, value = entries[find(ends, slot)]
                x = freq * (x >> PROB_BITS) + slot - start
                while x < LOW and at < end:
                    x = x << 8 | data[at]
                    at += 1
                ones += value
                ends, entries = table[value]
                slot = x & SLOT
                freq, start, out[place] = entries[find(ends, slot)]
                x = freq * (x >> PROB_BITS) + slot - start
            while x < LOW and at < end:
                x = x << 8 | data[at]
                at += 1
            place += 1
    stream.x, stream.at = x, at
    return out
