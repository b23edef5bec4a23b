"""The arithmetic coder of `lanes`: rANS with one state for each lane and one stream of 16-bit words.

All lanes take part in a step, or as many of the first as a block is wide. Lanes whose state falls below
2**16 read a word each, in their order. A state starts at 2**16 in the encoder, or, for a lane that joins the
others later, with a word behind that, which is taken back from the stream; the decoder puts it there again.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from pithnet.coding.bitpack import CodeWriter, pack_bits, unpack_bits
from pithnet.coding.errors import CodingError

LOW = 1 << 16  # a state is in LOW .. 2**32 - 1
WORD = np.array(16)
_MASK = np.array(LOW - 1)
SHIFT, FREQ = np.array(15), np.array((1 << 15) - 1)
SYMBOL = np.array(32)  # the bit of an entry where the symbol begins; below it frequency, then start


def entries(freqs: np.ndarray) -> np.ndarray:
    """Returns symbol << 32 | frequency << 15 | start for each symbol of each context, (contexts * levels,).

    Args:
        freqs: (contexts, levels) int64.
    """
    starts = np.cumsum(freqs, 1) - freqs
    return (np.arange(freqs.shape[1], dtype=np.int64) << 32 | freqs << 15 | starts).reshape(-1)


class StatesWriter:
    """The states of an encoder, which works from the last symbol to the first.

    Args:
        lanes: Number of lanes at the start.
        most: How many words there can be.
        loops: `lanes_compiled`, or None for numpy alone.
    """

    def __init__(self, lanes: int, most: int, loops: ModuleType | None = None) -> None:
        self._loops = loops
        self._states = np.full(lanes, LOW, np.int64)
        self._words = np.empty(most, np.uint16)  # filled from its end: what is not reached takes no memory
        self._at = most
        self._need = np.empty(lanes, bool)
        self._whole = np.empty(lanes, np.int64)

    def join(self, low: int, high: int) -> bool:
        """Gives lanes low .. high - 1 a word each of the stream; False where there are too few."""
        taken = self._words[self._at : self._at + high - low]
        if len(taken) < high - low:
            return False
        self._states[low:high] = taken | np.int64(LOW)
        self._at += high - low
        return True

    def put(self, known: np.ndarray, width: int, table: np.ndarray, bits: int) -> None:
        """Codes blocks that share their distributions, the last first.

        Args:
            known: (blocks * width, positions) uint16, the identities of the symbols.
            width: How many kernels each block has.
            table: The `entries` of the identities.
            bits: Frequencies add up to 2**bits.
        """
        if self._loops is not None:
            self._at = self._loops.encode_run(self._states[:width], self._words, self._at, known, table, bits)
            return
        for low in range(len(known) - width, -1, -width):
            self._put(table.take(known[low : low + width].T), bits)

    def _put(self, entry: np.ndarray, bits: int) -> None:
        """Codes a block, the last position first.

        Args:
            entry: (positions, width) int64, the `entries` of the symbols.
            bits: Frequencies add up to 2**bits.
        """
        width = entry.shape[1]
        x, need, whole = self._states[:width], self._need[:width], self._whole[:width]
        freqs = entry >> SHIFT & FREQ
        starts = entry & FREQ
        limits, others = freqs << 32 - bits, (1 << bits) - freqs
        words, at = self._words, self._at
        for j in range(len(entry) - 1, -1, -1):
            np.greater_equal(x, limits[j], need)
            full = need.nonzero()[0]
            if full.size:
                high = x.take(full)
                at -= full.size
                words[at : at + full.size] = high & _MASK
                x[full] = high >> WORD
            np.floor_divide(x, freqs[j], whole)
            np.multiply(whole, others[j], whole)
            np.add(x, whole, x)
            np.add(x, starts[j], x)
        self._at = at

    def bytes(self) -> bytes:
        """Returns the states and the words.

        The states come as their low halves; then the numbers of bits of their high halves, less 1, in fields
        of 4 bits; then these bits without the highest.
        """
        low, high = self._states & _MASK, self._states >> WORD
        lengths = np.frexp(high.astype(np.float64))[1].astype(np.int64) - 1  # exact: integers below 2**16
        writer = CodeWriter(int(lengths.sum()))
        writer.put((high ^ (1 << lengths)).astype(np.uint64), lengths)
        parts = low.astype("<u2").tobytes(), pack_bits(lengths, 4), writer.bytes()
        return b"".join([*parts, self._words[self._at :].astype("<u2").tobytes()])


class StatesReader:
    """The states of a decoder; `states`, `words` and `at` are open to a hot loop, which keeps them in locals.

    Args:
        data: What `StatesWriter.bytes` gave.
        lanes: Number of lanes at the start.

    Raises:
        CodingError: The bytes end before the states do.
    """

    def __init__(self, data: memoryview, lanes: int) -> None:
        at = 2 * lanes
        if len(data) < at + lanes // 2:
            raise CodingError("the states of the lanes are cut off: the stream is truncated")
        lengths = unpack_bits(data[at : at + lanes // 2], 4, lanes)
        at += lanes // 2
        size = (int(lengths.sum()) + 7) // 8
        high = _read_codes(bytes(data[at : at + size]), lengths, size)
        words = np.frombuffer(data[at + size :], np.uint8)
        if len(words) % 2:
            raise CodingError("the words of the lanes end in half a word: the stream is damaged")
        self.states = np.frombuffer(data[: 2 * lanes], "<u2").astype(np.int64) | high << WORD
        # Room in front is for words that are put back.
        self.words = np.concatenate([np.zeros(lanes, np.uint16), words.view("<u2").astype(np.uint16)])
        self.at = lanes

    def leave(self, low: int, high: int) -> None:
        """Ends lanes low .. high - 1, whose last word goes back to the stream.

        Raises:
            CodingError: They do not end as an encoder begins them.
        """
        if bool((self.states[low:high] >> WORD != 1).any()) or self.at < high - low:
            raise CodingError("a lane does not end where it should: the stream is damaged")
        self.at -= high - low
        self.words[self.at : self.at + high - low] = self.states[low:high] & _MASK

    def finish(self, lanes: int) -> None:
        """Checks that the stream ends here.

        Args:
            lanes: How many lanes there are at the end.

        Raises:
            CodingError: Words are left, or a lane does not end as an encoder begins it.
        """
        if self.at != len(self.words) or bool((self.states[:lanes] != LOW).any()):
            raise CodingError("the lanes do not end where their symbols do: the stream is damaged")


def _read_codes(data: bytes, lengths: np.ndarray, size: int) -> np.ndarray:
    """Returns the numbers whose bits follow each other, each with a 1 in front of its own."""
    if len(data) < size:
        raise CodingError("the states of the lanes are cut off: the stream is truncated")
    ends = np.cumsum(lengths)
    if data and data[-1] & (1 << 8 * size - int(ends[-1])) - 1:
        raise CodingError("the bits behind the states of the lanes are not zero: the stream is damaged")
    padded = np.frombuffer(data + bytes(3), np.uint8).astype(np.int64)
    first = (ends - lengths) >> 3
    three = padded[first] << 16 | padded[first + 1] << 8 | padded[first + 2]
    shift = 24 - (ends - lengths & 7) - lengths
    return three >> shift & (1 << lengths) - 1 | 1 << lengths
