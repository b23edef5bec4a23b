"""The two Huffman encoders: all symbols in one lane, or pairs of symbols dealt to many lanes."""

from __future__ import annotations

import numpy as np

from pithnet.coding.bitpack import CodeWriter
from pithnet.coding.prefix import FAST_LENGTH

_BLOCK = 1 << 17  # symbols worked on at a time: the arrays stay in the cache


def encode_one_lane(symbols: np.ndarray, codes: np.ndarray, lengths: np.ndarray, total_bits: int) -> bytes:
    """Returns the codes of a flat array of symbols, one after the other.

    Args:
        symbols: (n,) integers.
        codes: (alphabet,) the code of each symbol.
        lengths: (alphabet,) bits of each code.
        total_bits: What the codes of all symbols amount to.
    """
    writer = CodeWriter(total_bits)
    joins = 3 if int(lengths.max()) <= FAST_LENGTH else 2  # 8 or 4 codes in a word of 64 bits
    for low in range(0, symbols.size, _BLOCK):
        block = symbols[low : low + _BLOCK]
        code, bits = codes[block].astype(np.uint64), lengths[block]
        missing = -block.size % (1 << joins)
        if missing:
            code, bits = np.pad(code, (0, missing)), np.pad(bits, (0, missing))
        writer.put(*_join_pairs(code, bits, joins))
    return writer.bytes()


def encode_lanes(
    symbols: np.ndarray, codes: np.ndarray, lengths: np.ndarray, total_bits: int, lanes: int
) -> tuple[np.ndarray, bytes]:
    """Deals pairs of symbols to lanes in turn.

    Args:
        symbols: (n,) integers.
        codes: (alphabet,) the code of each symbol.
        lengths: (alphabet,) bits of each code.
        total_bits: What the codes of all symbols amount to.
        lanes: Number of lanes.

    Returns:
        The bits of each lane, (lanes,), and the lanes one after the other.
    """
    joins = 2 if int(lengths.max()) <= FAST_LENGTH else 1  # of pairs, until a word of 64 bits is full
    size = symbols.size
    rows = -(-size // (2 * lanes << joins)) << joins
    flat = np.zeros(2 * rows * lanes, np.dtype("u1" if codes.size <= 256 else "<u2"))
    flat[:size] = symbols
    grid = flat.view("<u2" if codes.size <= 256 else "<u4").reshape(rows, lanes)  # one number per pair
    pair_codes = _PairCodes(codes, lengths)
    writer = CodeWriter(total_bits)
    lane_sizes = np.zeros(lanes, np.int64)
    step = max(_BLOCK // (2 * rows), 1)
    full = size // (2 * lanes)  # rows without a gap
    for low in range(0, lanes, step):
        block = np.ascontiguousarray(grid[:, low : low + step].T)
        code, bits = pair_codes(block)
        lane = low + np.arange(len(block))[:, None]
        present = size - 2 * (np.arange(full, rows) * lanes + lane)
        pair_codes.cut(code[:, full:], bits[:, full:], block[:, full:], present)
        code, bits = _join_pairs(code.reshape(-1), bits.reshape(-1), joins)
        lane_sizes[low : low + step] = bits.reshape(len(block), -1).sum(axis=1, dtype=np.int64)
        writer.put(code, bits)
    return lane_sizes, writer.bytes()


class _PairCodes:
    """Codes and bits of pairs of symbols, a pair being first + second << 8 (or 16, above 256 symbols)."""

    def __init__(self, codes: np.ndarray, lengths: np.ndarray) -> None:
        self.codes, self.lengths = codes.astype(np.uint64), lengths
        self.narrow = lengths.size <= 256
        if self.narrow:  # look pairs up whole: bits << 32 | code
            used = slice(lengths.size)
            bits = lengths.astype(np.uint64)
            self.table = np.zeros((256, 256), np.uint64)
            self.table[used, used] = self.codes << bits[:, None] | self.codes[:, None]
            self.table[used, used] |= bits + bits[:, None] << np.uint64(32)

    def __call__(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps pairs (lanes, rows) to their codes, uint64, and bits, uint8, of that shape."""
        if self.narrow:
            entry = self.table.reshape(-1)[pairs]
            return entry & np.uint64(0xFFFFFFFF), (entry >> np.uint64(32)).astype(np.uint8)
        symbols = pairs.view("<u2").reshape(-1)
        code, bits = _join_pairs(self.codes[symbols], self.lengths[symbols], 1)
        return code.reshape(pairs.shape), bits.reshape(pairs.shape)

    def cut(self, code: np.ndarray, bits: np.ndarray, pairs: np.ndarray, present: np.ndarray) -> None:
        """Shortens in place: pairs with no symbol `present` get no bits, half a pair its first symbol's."""
        code[present <= 0] = 0
        bits[present <= 0] = 0
        half = present == 1
        first = pairs[half] & (0xFF if self.narrow else 0xFFFF)
        code[half], bits[half] = self.codes[first], self.lengths[first]


def _join_pairs(code: np.ndarray, bits: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Concatenates neighbours in flat arrays of codes (uint64) and their sizes (uint8), `times` over."""
    for _ in range(times):
        code = code[0::2] << bits[1::2].astype(np.uint64) | code[1::2]
        bits = bits[0::2] + bits[1::2]
    return code, bits
