"""Huffman streams: canonical, length-limited codes, vectorised both ways.

A stream holds the varint size of the model, the model (code lengths, `smallints`), then the codes. Up to
ONE_LANE symbols follow each other in one lane. Above that, pairs of symbols are dealt to 2**k lanes, which
decode in lock-step, and the codes begin with their directory: byte k; the lanes' sizes in bits, as a varint
for the smallest, a byte for a width, and fields of that width for what each lane has more. The lanes follow
one after the other, without gaps.
"""

from __future__ import annotations

import numpy as np

from pithnet.coding.bitpack import get_varint, pack_bits, put_varint, unpack_bits
from pithnet.coding.errors import CodingError
from pithnet.coding.huffman_decoders import decode_lanes, decode_one_lane
from pithnet.coding.huffman_encoders import encode_lanes, encode_one_lane
from pithnet.coding.prefix import FAST_LENGTH, MAX_LENGTH, canonical_codes, code_lengths
from pithnet.coding.rans import Decoder, Encoder
from pithnet.coding.smallints import get_vector, put_vector
from pithnet.coding.work import Spend, unlimited

ONE_LANE = 1 << 17
MAX_LANES = 13  # 2**13 lanes: each array of their state is 64 kB and stays in the L2 cache
_LANE_BITS = 12  # what the size of one more lane costs, about
_LANE_SHARE = 0.004  # of the stream may go into lane sizes
_BLOCK = 1 << 17
_ONE_LANE_WORK, _LANES_WORK = 16_000, 100_000  # what tables and lanes take, however few the symbols
_BYTE_WORK, _PAIRS_WORK = 8, 1400  # of a byte of one lane; of one pair of every lane, however few the lanes


def encode(symbols: np.ndarray) -> bytes:
    """Codes a flat array of integers 0..65,535; the stream does not hold their number."""
    if symbols.size == 0:
        return b""
    counts = histogram(symbols)
    lengths = choose_lengths(counts, symbols.size)
    if not lengths.any():  # one symbol: the length 1 says which, and no codes follow
        lengths[-1] = 1
        return _put_model(lengths)
    codes = canonical_codes(lengths)
    bits = int(counts @ lengths.astype(np.int64))
    if symbols.size <= ONE_LANE:
        return _put_model(lengths) + encode_one_lane(symbols, codes, lengths, bits)
    k = lane_bits(bits)
    sizes, body = encode_lanes(symbols, codes, lengths, bits, 1 << k)
    shortest = int(sizes.min())
    field = int(sizes.max() - shortest).bit_length()
    head = bytes([k]) + put_varint(shortest) + bytes([field]) + pack_bits(sizes - shortest, field)
    return _put_model(lengths) + head + body


def decode(data: bytes, count: int, spend: Spend = unlimited) -> np.ndarray:
    """Reads the symbols of a stream.

    Args:
        data: The stream.
        count: How many symbols it holds.
        spend: Gets the work that is about to be done.

    Returns:
        (count,) uint8 if the alphabet has at most 256 symbols, else uint16.

    Raises:
        CodingError: The stream is damaged.
    """
    if count == 0:
        return np.zeros(0, np.uint8)
    lengths, at = _get_model(data, spend)
    body = memoryview(data)[at:]
    dtype = np.uint8 if lengths.size <= 256 else np.uint16
    used = np.flatnonzero(lengths)
    if used.size == 1:
        if body:
            raise CodingError("a constant needs no codes, but codes follow: the stream is damaged")
        spend(count // 16)
        return np.full(count, used[0], dtype)
    if count <= ONE_LANE:
        spend(2 * count + _ONE_LANE_WORK + _BYTE_WORK * len(body))
        return decode_one_lane(bytes(body), lengths, count).astype(dtype, copy=False)
    ends, at = _get_ends(body, count)
    spend(2 * count + _LANES_WORK + _PAIRS_WORK * -(-count // (2 * ends.size)))
    return decode_lanes(body[at:], ends, lengths, count).astype(dtype, copy=False)


def histogram(symbols: np.ndarray) -> np.ndarray:
    """Counts the symbols of a non-empty array, as np.bincount does, without copying everything as int64."""
    counts = np.zeros(int(symbols.max()) + 1, np.int64)
    for low in range(0, symbols.size, _BLOCK):
        counts += np.bincount(symbols[low : low + _BLOCK], minlength=counts.size)
    return counts


def choose_lengths(counts: np.ndarray, size: int) -> np.ndarray:
    """Chooses code lengths: the optimal ones, or shorter-limited ones that decode faster for next to nothing.

    Long streams take codes of at most FAST_LENGTH bits where that costs less than 0.1 %.

    Args:
        counts: (alphabet,) how often each symbol occurs.
        size: Number of symbols in the stream.

    Returns:
        (alphabet,) uint8 lengths in bits.
    """
    best = code_lengths(counts, MAX_LENGTH)
    if size > ONE_LANE and best.max() > FAST_LENGTH and np.count_nonzero(counts) <= 1 << FAST_LENGTH:
        fast = code_lengths(counts, FAST_LENGTH)
        if counts @ fast.astype(np.int64) <= 1.001 * (counts @ best.astype(np.int64)):
            return fast
    return best


def lane_bits(total_bits: int) -> int:
    """Returns log2 of the number of lanes that a stream of this many bits pays for."""
    lanes = int(total_bits * _LANE_SHARE / _LANE_BITS)
    return min(max(lanes.bit_length() - 1, 0), MAX_LANES)


def _put_model(lengths: np.ndarray) -> bytes:
    model = Encoder()
    put_vector(model, lengths.tolist())
    head = model.bytes()
    return put_varint(len(head)) + head


def _get_model(data: bytes, spend: Spend) -> tuple[np.ndarray, int]:
    """Returns the code lengths, and the index of the byte behind the model."""
    size, at = get_varint(data, 0)
    if size > len(data) - at:
        raise CodingError("the Huffman model is cut off: the stream is truncated")
    model = Decoder(data[at : at + size])
    lengths = np.array(get_vector(model, spend, MAX_LENGTH), np.uint8)
    model.finish()
    if not lengths.any() or not lengths[-1]:
        raise CodingError("the Huffman model does not end with a symbol: the stream is damaged")
    return lengths, at + size


def _get_ends(body: memoryview, count: int) -> tuple[np.ndarray, int]:
    """Returns where each lane ends, in bits from the start of the codes, and the byte where these start."""
    if not body or body[0] > MAX_LANES:
        raise CodingError("the number of lanes is missing or above 8,192: the stream is damaged")
    lanes = 1 << body[0]
    shortest, at = get_varint(body, 1)
    if at >= len(body) or body[at] > 32 or shortest > MAX_LENGTH * count:
        raise CodingError("the lane sizes are out of range: the stream is damaged")
    field = body[at]
    behind = at + 1 + -(-field * lanes // 8)
    return np.cumsum(unpack_bits(body[at + 1 : behind], field, lanes) + shortest), behind
