"""The two Huffman decoders: one lane by jumping along a table of successors, many lanes in lock-step."""

from __future__ import annotations

import numpy as np

from pithnet.coding.errors import CodingError
from pithnet.coding.prefix import decode_table

_STRIDE = 3  # the one-lane loop visits every 2**3rd symbol; the rest follows vectorised
_BLOCK = 1 << 17
_U = np.uint64


def decode_one_lane(body: bytes, lengths: np.ndarray, count: int) -> np.ndarray:
    """Decodes symbols that follow each other in one lane.

    At every bit offset the table tells the length of a code that would start there, hence the next offset.
    Composing this map with itself three times gives eight-symbol jumps; one short Python loop takes them, and
    the offsets in between come back by applying the shorter maps to whole arrays.

    Args:
        body: The codes.
        lengths: (alphabet,) code lengths in bits.
        count: Number of symbols.

    Returns:
        (count,) symbols.

    Raises:
        CodingError: The codes do not end where the last symbol does.
    """
    symbol, length, width = decode_table(lengths)
    nbits = 8 * len(body)
    if nbits >= width * count + 8:  # refused before the tables below, of 24 bytes a bit
        raise CodingError(f"{len(body)} bytes of Huffman codes for {count} symbols: the stream is damaged")
    window = _windows(body, width)
    hop = np.minimum(np.arange(nbits, dtype=np.int32) + length[window], nbits)
    hops = [np.append(hop, np.int32(nbits)).astype(np.int32)]
    for _ in range(_STRIDE):
        hops.append(hops[-1][hops[-1]])
    far = hops[-1].data
    at = 0
    stops = [0] * -(-count // (1 << _STRIDE))
    for n in range(1, len(stops)):
        at = far[at]
        stops[n] = at
    offsets = np.array(stops, np.int32)
    for hop in reversed(hops[:-1]):
        offsets = np.stack([offsets, hop[offsets]], axis=1).ravel()
    last = int(offsets[count - 1])
    end = last + int(length[window[last]]) if last < nbits else nbits + 1
    _check_end(end, nbits, body)
    return symbol[window[offsets[:count]]]


def _windows(body: bytes, width: int) -> np.ndarray:
    """Returns the `width` bits from every bit offset on, (8 * len(body),) int64; zeros follow the end."""
    b = np.frombuffer(body + b"\0\0", np.uint8).astype(np.int32)
    three = b[:-2] << 16 | b[1:-1] << 8 | b[2:]
    shifts = 24 - width - np.arange(8, dtype=np.int32)
    return (three[:, None] >> shifts & (1 << width) - 1).ravel()


def _check_end(end: int, nbits: int, body: bytes | memoryview) -> None:
    if not nbits - 8 < end <= nbits:
        raise CodingError("the Huffman codes do not end where the stream does: it is damaged or truncated")
    if body[-1] & (1 << nbits - end) - 1:
        raise CodingError("the bits behind the last Huffman code are not zero: the stream is damaged")


def decode_lanes(body: memoryview, ends: np.ndarray, lengths: np.ndarray, count: int) -> np.ndarray:
    """Decodes symbols that were dealt in pairs to lanes.

    Args:
        body: The lanes, one after the other.
        ends: (lanes,) the bit behind each lane's last.
        lengths: (alphabet,) code lengths in bits.
        count: Number of symbols.

    Returns:
        (count,) symbols.

    Raises:
        CodingError: The codes are missing, or a lane does not end where it should.
    """
    if not body:
        raise CodingError("the Huffman codes are missing: the stream is truncated")
    _check_end(int(ends[-1]), 8 * len(body), body)
    lanes = len(ends)
    table, per_look = _look_up(lengths)
    pairs = -(-count // 2)
    looks = 2 // per_look  # per pair
    out = np.empty((-(-pairs // lanes) * looks, lanes), np.uint16)
    position = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    words = _words(body)
    full = pairs // lanes
    _lock_step(words, position, table, out[: full * looks])
    done = position.copy()
    _lock_step(words, position, table, out[full * looks :])
    more = pairs - full * lanes  # lanes that hold one pair more
    done[:more] = position[:more]
    if count % 2:  # the last pair is half a pair: its lane is checked by what follows it only
        done[more - 1] = ends[more - 1]
    if not np.array_equal(done, ends):
        raise CodingError("a lane of Huffman codes does not end where it should: the stream is damaged")
    if per_look == 2:
        return out.astype("<u2", copy=False).view(np.uint8).ravel()[:count]
    _interleave(out.reshape(-1, 2, lanes))
    return out.reshape(-1)[:count]


def _interleave(pairs: np.ndarray) -> None:
    """Puts the two symbols of a pair side by side in (rows, 2, lanes), in place since a copy may be large."""
    rows, _, lanes = pairs.shape
    step = max(_BLOCK // lanes, 1)
    for low in range(0, rows, step):
        block = pairs[low : low + step]
        block.reshape(-1)[:] = block.transpose(0, 2, 1).ravel()


def _lock_step(words: np.ndarray, position: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """Fills `out` (rows, lanes) and advances `position` (lanes,), both in place.

    64 bits fetched at a multiple of 16 hold at least 49 from the lane's position on, which is enough for
    three looks of 16.
    """
    fetched, scratch, entry = (np.empty(position.size, np.uint64) for _ in range(3))
    for row in range(0, len(out), 3):
        np.right_shift(position, 4, out=scratch.view(np.int64))
        np.take(words, scratch.view(np.int64), out=fetched, mode="clip")
        np.bitwise_and(position, 15, out=scratch.view(np.int64))
        np.left_shift(fetched, scratch, out=fetched)
        for line in out[row : row + 3]:
            np.right_shift(fetched, _U(48), out=scratch)
            np.take(table, scratch.view(np.int64), out=entry, mode="clip")
            np.copyto(line, entry, casting="unsafe")
            np.right_shift(entry, _U(16), out=scratch)
            np.left_shift(fetched, scratch, out=fetched)
            np.add(position, scratch.view(np.int64), out=position)


def _words(body: memoryview) -> np.ndarray:
    """Returns the 64 bits from every 16th bit on, as uint64."""
    padded = b"".join([body, bytes(8)])
    return np.ndarray(len(body) // 2 + 1, ">u8", padded, strides=(2,)).astype(np.uint64)


def _look_up(lengths: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the table of what 16 bits begin with, and the number of symbols per look.

    An entry is bits used << 16 | first | second << 8, or bits used << 16 | symbol where two codes may not
    fit.
    """
    symbol, length, width = decode_table(lengths)
    every = np.arange(1 << 16, dtype=np.int64)
    first = every >> 16 - width
    if width > 8 or len(lengths) > 256:
        return (length[first].astype(_U) << _U(16)) | symbol[first], 1
    used = length[first].astype(np.int64)
    second = (every << used & 0xFFFF) >> 16 - width
    bits = (used + length[second]).astype(_U)
    return bits << _U(16) | symbol[first] | symbol[second].astype(_U) << _U(8), 2
