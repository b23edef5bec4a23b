"""Bit fields: varints, fixed-width integers, and the concatenation of variable-length codes.

Every bit string is written most significant bit first; the last byte is filled with zero bits.
"""

from __future__ import annotations

import numpy as np

from pithnet.coding.errors import CodingError

MAX_VARINT_BYTES = 9  # 63 bits: any length this project can hold fits, and a hostile one cannot run on


def put_varint(value: int) -> bytes:
    """Returns an integer in LEB128: seven bits per byte, lowest first.

    Args:
        value: 0 to 2**63 - 1.

    Raises:
        CodingError: The value is negative or too large.
    """
    if not 0 <= value < 1 << 7 * MAX_VARINT_BYTES:
        raise CodingError(f"a varint holds 0 .. 2**63 - 1, not {value}")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def get_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Reads a varint.

    Args:
        data: The stream.
        at: Index of the varint's first byte.

    Returns:
        The value, and the index of the byte behind the varint.

    Raises:
        CodingError: The stream ends inside the varint, or the varint is longer than 9 bytes.
    """
    value = 0
    for n in range(MAX_VARINT_BYTES):
        if at + n >= len(data):
            raise CodingError("the stream ends inside a length field: it is truncated")
        value |= (data[at + n] & 127) << 7 * n
        if data[at + n] < 128:
            return value, at + n + 1
    raise CodingError("a length field is longer than 9 bytes: the stream is damaged")


def pack_bits(values: np.ndarray, width: int) -> bytes:
    """Writes integers as fixed-width fields, one after the other.

    Args:
        values: Non-negative integers of any shape, taken in C order.
        width: Bits per field, 0 to 32.

    Raises:
        CodingError: The width is out of range, or a value does not fit into it.
    """
    if not 0 <= width <= 32:
        raise CodingError(f"a field is 0 to 32 bits wide, not {width}")
    flat = np.ascontiguousarray(values).ravel().astype(np.uint64)
    if flat.size and int(flat.max()) >> width:
        raise CodingError(f"{int(flat.max())} does not fit into {width} bits")
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint64)
    return np.packbits((flat[:, None] >> shifts & np.uint64(1)).astype(np.uint8)).tobytes()


def unpack_bits(data: bytes | memoryview, width: int, count: int) -> np.ndarray:
    """Reads what `pack_bits` wrote.

    Args:
        data: The fields, and nothing behind them.
        width: Bits per field, 0 to 32.
        count: Number of fields.

    Returns:
        (count,) int64.

    Raises:
        CodingError: The width is out of range, `data` has another size than the fields need, or does not
            end with zero bits.
    """
    if not 0 <= width <= 32:
        raise CodingError(f"a field is 0 to 32 bits wide, not {width}")
    if len(data) != -(-width * count // 8):
        raise CodingError(
            f"{count} fields of {width} bits need {-(-width * count // 8)} bytes, not {len(data)}"
        )
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bool(bits[width * count :].any()):
        raise CodingError("the bits behind the last field are not zero: the stream is damaged")
    return bits[: width * count].reshape(count, width).astype(np.int64) @ (
        1 << np.arange(width - 1, -1, -1, dtype=np.int64)
    )


class CodeWriter:
    """A bit string under construction, to which variable-length codes are appended a block at a time.

    The work is vectorised: each code falls into one 64-bit word or straddles two, and since codes follow each
    other, only the last one that starts in a word can reach into the next.

    Args:
        total_bits: Bits that all codes together will take.
    """

    def __init__(self, total_bits: int) -> None:
        self.words = np.zeros(total_bits // 64 + 2, np.uint64)
        self.at = 0  # bits written

    def put(self, codes: np.ndarray, lengths: np.ndarray) -> None:
        """Appends codes.

        Args:
            codes: (n,) uint64; each code stands in the low bits of its number, with zeros above.
            lengths: (n,) integers, the bits of each code, 0 to 64.
        """
        if codes.size == 0:
            return
        ends = np.cumsum(lengths, dtype=np.int64) + self.at
        lengths = lengths.astype(np.int64)
        starts = ends - lengths
        word, shift = starts >> 6, starts & 63
        left = _shift_left(codes, 64 - lengths)  # the code at the top of its 64 bits
        first = np.flatnonzero(np.diff(word, prepend=-1))
        self.words[word[first]] |= np.bitwise_or.reduceat(left >> shift.view(np.uint64), first)
        last = np.append(first[1:], len(word)) - 1
        self.words[word[last] + 1] |= _shift_left(left[last], 64 - shift[last])
        self.at = int(ends[-1])

    def bytes(self) -> bytes:
        """Returns what was put so far, the last byte filled with zero bits."""
        return self.words.astype(">u8").tobytes()[: -(-self.at // 8)]


def _shift_left(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Returns `values << by` for `by` in 0..64; a shift by the whole width, undefined in C, gives 0."""
    whole = by >> 6
    return values << (by - whole).astype(np.uint64) << whole.astype(np.uint64)
