"""Short vectors of small integers (code lengths, quantised log-probabilities) in a few bytes.

Neighbours are similar and zeros come in runs, so each entry is coded as "zero or not" and the difference from
the last non-zero entry, every yes/no question with its own adaptive probability.
"""

from __future__ import annotations

from pithnet.coding.errors import CodingError
from pithnet.coding.rans import HALF, TOTAL, Decoder, Encoder
from pithnet.coding.work import Spend, unlimited

MAX_VALUE = 255
_ZERO, _SAME, _DOWN, _MORE = (
    0,
    2,
    3,
    4,
)  # questions: zero (after a non-zero, after a zero), same, down, one more
_STEPS = 12  # "one more" has a probability of its own this many times
_ENTRY_WORK = 100
_LEAST, _SLOWEST = 16, 32  # of a probability's slots; of the rates
_FIRST = 4  # stands for the entry before the first


class _Odds:
    """Adaptive probabilities of the yes/no questions; they move quickly at first and slowly later."""

    def __init__(self) -> None:
        self.p0 = [HALF] * (_MORE + _STEPS)
        self.rate = [2] * (_MORE + _STEPS)

    def learn(self, question: int, bit: int) -> None:
        rate = self.rate[question]
        p0 = self.p0[question]
        p0 += ((0 if bit else TOTAL) - p0) // rate
        self.p0[question] = _LEAST if p0 < _LEAST else min(p0, TOTAL - _LEAST)
        if rate < _SLOWEST:
            self.rate[question] = rate + 1


def put_vector(out: Encoder, values: list[int]) -> None:
    """Appends a vector to a stream, its length included.

    Args:
        out: the stream.
        values: 1 to 65,536 integers, each 0..255.

    Raises:
        CodingError: The vector is longer.
    """
    width = (len(values) - 1).bit_length()
    if width > 16:
        raise CodingError(f"an alphabet has at most 65,536 symbols, not {len(values)}")
    out.put_field(width, 5)
    out.put_field(len(values) - 1, width)
    odds = _Odds()

    def tell(question: int, bit: int) -> None:
        out.put_bit(bit, odds.p0[question])
        odds.learn(question, bit)

    last, was_zero = _FIRST, 0
    for value in values:
        tell(_ZERO + was_zero, int(value == 0))
        was_zero = int(value == 0)
        if was_zero:
            continue
        delta = value - last
        tell(_SAME, int(delta == 0))
        if delta:
            tell(_DOWN, int(delta < 0))
            for n in range(1, abs(delta)):
                tell(_MORE + min(n, _STEPS) - 1, 1)
            tell(_MORE + min(abs(delta), _STEPS) - 1, 0)
        last = value


def get_vector(data: Decoder, spend: Spend = unlimited) -> list[int]:
    """Reads the vector that `put_vector` wrote.

    Args:
        data: stands where the vector begins.
        spend: gets the work that is about to be done.

    Raises:
        CodingError: The vector is too long, or its entries leave 0..255.
    """
    width = data.field(5)
    if width > 16:
        raise CodingError("the alphabet is larger than 65,536 symbols: the stream is damaged")
    size = data.field(width) + 1
    spend(_ENTRY_WORK * size)
    odds = _Odds()

    def ask(question: int) -> int:
        bit = data.bit(odds.p0[question])
        odds.learn(question, bit)
        return bit

    values: list[int] = []
    last, was_zero = _FIRST, 0
    for _ in range(size):
        was_zero = ask(_ZERO + was_zero)
        if was_zero:
            values.append(0)
            continue
        if not ask(_SAME):
            sign = -1 if ask(_DOWN) else 1
            step = 1
            while step <= MAX_VALUE and ask(_MORE + min(step, _STEPS) - 1):
                step += 1
            last += sign * step
        if not 1 <= last <= MAX_VALUE:
            raise CodingError("a model parameter is out of range: the stream is damaged")
        values.append(last)
    return values
