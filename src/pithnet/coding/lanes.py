"""Symbols of large tensors, many at a time: rANS in lanes that share one adaptive model.

A lane takes one kernel after the other. A block is as many kernels as there are lanes, side by side; step j
of it codes position j of them all, so what stands to the left and above in a kernel is always known. Rows and
columns of kernels have a number each, and the sum of both says how a kernel is: empty, full, or in between.

Source: F. Giesen, "Interleaved entropy coders", arXiv:1402.3392, 2014.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from pithnet.coding.bitpack import get_varint, put_varint
from pithnet.coding.compiled import loops
from pithnet.coding.errors import CodingError
from pithnet.coding.lanes_decoder import decode_blocks
from pithnet.coding.lanes_fit import fit, tails
from pithnet.coding.lanes_head import MAX_LEVELS, Head, most_frequent
from pithnet.coding.lanes_model import Model, identities, stretches
from pithnet.coding.lanes_states import StatesWriter, entries
from pithnet.coding.rans import Decoder, Encoder
from pithnet.coding.tiles import Block, Cut, blocks_of, cut_of, runs
from pithnet.coding.work import Spend, unlimited

MAX_SYMBOLS = 1 << 30  # as many as 2,048 lanes may take
_CHUNK = 1 << 17  # symbols whose contexts are found together


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
    if symbols.size > MAX_SYMBOLS:
        raise CodingError(f"'lanes' codes up to {MAX_SYMBOLS} symbols, not {symbols.size}: use 'huffman'")
    if int(symbols.max()) >= MAX_LEVELS:
        raise CodingError(
            f"'lanes' codes up to {MAX_LEVELS} levels, not {int(symbols.max()) + 1}: use 'huffman'"
        )
    cut = _cut(symbols.size, mask)
    head, bits = fit(symbols.astype(np.uint8, copy=False), cut)
    whole = np.full(cut.kernels * cut.positions, most_frequent(head.levels), np.uint8)
    whole[: symbols.size] = symbols
    known = _identities(whole.reshape(cut.kernels, cut.positions), cut, head)
    for tail in tails(head.lanes, bits, cut):
        head = head._replace(tail=tail)
        coded = _encode_blocks(known, cut, head)
        if coded is not None:
            break
    assert coded is not None  # without a tail it always succeeds
    out = Encoder()
    head.put(out)
    begin = out.bytes()
    return put_varint(len(begin)) + begin + coded


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
    size, at = get_varint(data, 0)
    if size > len(data) - at:
        raise CodingError("the head of the lanes is cut off: the stream is truncated")
    cut = _cut(count, mask)
    stream = Decoder(data[at : at + size])
    head = Head.get(stream, cut, spend)
    stream.finish()
    if head.lanes**2 << 8 < count:
        raise CodingError(f"{count} symbols in {head.lanes} lanes are too many: the stream is damaged")
    found = decode_blocks(memoryview(data)[at + size :], cut, head, spend).reshape(-1)
    if bool((found[count:] != most_frequent(head.levels)).any()):
        raise CodingError(
            "what fills up the last tile is not the most frequent symbol: the stream is damaged"
        )
    return found[:count]


def _cut(count: int, mask: np.ndarray) -> Cut:
    """Returns how the symbols are cut: as the tensor is where it stores all of them, else as a vector."""
    return cut_of(mask.shape if prod(mask.shape) == count else (count,))


def _identities(symbols: np.ndarray, cut: Cut, head: Head) -> np.ndarray:
    """Returns the identity of every symbol, (kernels, positions) uint16, by chunks that stay in the cache."""
    classes = head.kernel_classes(cut)
    known = np.empty(symbols.shape, np.uint16)
    step = max(_CHUNK // cut.positions, 1)
    for low in range(0, len(symbols), step):
        part = slice(low, low + step)
        known[part] = identities(symbols[part], classes[part], cut, head)
    return known


def _encode_blocks(known: np.ndarray, cut: Cut, head: Head) -> bytes | None:
    """Returns the states and words of all blocks, or None where the tail has too few words to take back."""
    blocks = blocks_of(cut.kernels, head.lanes, head.tail)
    assert blocks is not None
    states, end = StatesWriter(head.lanes, known.size, loops(known.size)), len(known)
    alive = blocks[-1].alive
    for first, last, table in reversed(list(_tables(known, blocks, head))):
        for block, number in reversed(runs(blocks[first:last])):
            if block.alive > alive and not states.join(alive, block.alive):
                return None
            alive, begin = block.alive, end - number * block.width
            states.put(known[begin:end], block.width, table, head.slot_bits)
            end = begin
    return states.bytes()


def _tables(known: np.ndarray, blocks: list[Block], head: Head) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields the stretches of blocks (first, last), and the entries that they are coded with."""
    model, low = Model(head), 0
    for first, last in stretches(len(blocks)):
        yield first, last, entries(model.frequencies())
        high = low + sum(block.width for block in blocks[first:last])
        if last < len(blocks):
            model.learn(known[low:high])
        low = high
