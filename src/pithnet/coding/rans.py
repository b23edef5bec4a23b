"""The arithmetic coder: static range asymmetric numeral systems (rANS), one state, byte by byte.

The coder knows nothing of models: a symbol is an interval [start, start + freq) of 2**14, whoever chose it.
The encoder takes all intervals and works backwards; a decoder shows its 14-bit slot, is told the interval and
moves on. The state starts at 0, so a stream has no padding, and must come back to 0 with all bytes read: this
is the decoder's check. Hot loops elsewhere inline `Decoder.advance`, which costs less than a Python call.

Source: J. Duda, "Asymmetric numeral systems", arXiv:1311.2540, 2013.
"""

from __future__ import annotations

from pithnet.coding.errors import CodingError

PROB_BITS = 14
TOTAL = 1 << PROB_BITS
SLOT = TOTAL - 1
LOW = 1 << 22  # the decoder reads a byte when its state is below; then all states stay under 2**30
HEAD = 3  # bytes of a state that are certainly there, if the stream has as many
HALF = TOTAL // 2


def encode_intervals(starts: list[int], freqs: list[int]) -> bytes:
    """Returns the stream of the symbols with these intervals, in order.

    Args:
        starts: Where each interval begins, 0 to 2**14 - 1.
        freqs: How wide it is, 1 to 2**14.
    """
    out = bytearray()
    put, x = out.append, 0
    for start, freq in zip(reversed(starts), reversed(freqs), strict=True):
        while x >> 16 >= freq:
            put(x & 255)
            x >>= 8
        x += x // freq * (TOTAL - freq) + start  # (x // freq) * TOTAL + x % freq + start
    out += x.to_bytes((x.bit_length() + 7) // 8, "little")
    return bytes(reversed(out))


class Encoder:
    """Decisions collected for `bytes` to code, in two parallel lists that are open to hot loops."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.freqs: list[int] = []

    def put(self, start: int, freq: int) -> None:
        """Appends the symbol of the interval [start, start + freq)."""
        self.starts.append(start)
        self.freqs.append(freq)

    def put_bit(self, bit: int, p0: int) -> None:
        """Appends a yes/no decision whose 0 has probability p0 / 2**14."""
        self.put(p0 if bit else 0, TOTAL - p0 if bit else p0)

    def put_field(self, value: int, width: int) -> None:
        """Appends the low `width` bits of a number, each as likely 0 as 1."""
        for n in range(width - 1, -1, -1):
            self.put_bit(value >> n & 1, HALF)

    def bytes(self) -> bytes:
        """Returns the stream of everything that was put."""
        return encode_intervals(self.starts, self.freqs)


class Decoder:
    """A stream being read; `x`, `at` and `data` are open so that a hot loop can keep them in locals."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.x = int.from_bytes(data[:HEAD], "big")
        self.at = min(HEAD, len(data))
        self._fill()

    def slot(self) -> int:
        """Returns the number in 0 .. 2**14 - 1 that lies in the next symbol's interval."""
        return self.x & SLOT

    def advance(self, start: int, freq: int) -> None:
        """Moves past the symbol of the interval [start, start + freq)."""
        self.x = freq * (self.x >> PROB_BITS) + (self.x & SLOT) - start
        self._fill()

    def _fill(self) -> None:
        while self.x < LOW and self.at < len(self.data):
            self.x = self.x << 8 | self.data[self.at]
            self.at += 1

    def bit(self, p0: int) -> int:
        """Reads a yes/no decision whose 0 has probability p0 / 2**14."""
        bit = int(self.slot() >= p0)
        self.advance(p0 if bit else 0, TOTAL - p0 if bit else p0)
        return bit

    def field(self, width: int) -> int:
        """Reads a number of `width` bits."""
        value = 0
        for _ in range(width):
            value = value << 1 | self.bit(HALF)
        return value

    def finish(self) -> None:
        """Checks that the stream ends here, exactly as an encoder leaves it.

        Raises:
            CodingError: The stream goes on, or its state is not the one that an encoder starts from.
        """
        if self.x or self.at != len(self.data):
            raise CodingError("the arithmetic-coded stream does not end where its symbols do: it is damaged")
