"""Short vectors of small integers (code lengths, quantised log-probabilities) in a few bytes.

Neighbours are similar and zeros come in runs, so each entry is coded as "zero or not" and the difference from
the last non-zero entry, every yes/no question with its own adaptive probability.
"""

from __future__ import annotations

from collections.abc import Callable

from pithnet.coding.errors import CodingError
from pithnet.coding.rans import HALF, LOW, PROB_BITS, SLOT, TOTAL, Decoder, Encoder
from pithnet.coding.work import Spend, unlimited

MAX_VALUE = 255
_ZERO, _SAME, _DOWN, _MORE = (
    0,
    2,
    3,
    4,
)  # questions: zero (after a non-zero, after a zero), same, down, one more
_STEPS = 12  # "one more" has a probability of its own this many times
_ENTRY_WORK, _QUESTION_WORK = 100, 50  # of an entry; of each question whether it is below, or one more
_TOGETHER = 1024  # questions whose work is told at once
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
        out: The stream.
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


def get_vector(data: Decoder, spend: Spend = unlimited, most: int = MAX_VALUE) -> list[int]:
    """Reads the vector that `put_vector` wrote.

    Args:
        data: Stands where the vector begins.
        spend: Gets the work that is being done: entries before they are read, and questions as they come,
            since few bytes can answer very many of them.
        most: The largest entry that makes sense.

    Raises:
        CodingError: The vector is too long, or its entries leave 0..most.
    """
    width = data.field(5)
    if width > 16:
        raise CodingError("the alphabet is larger than 65,536 symbols: the stream is damaged")
    size = data.field(width) + 1
    spend(_ENTRY_WORK * size)
    ask, values = _questions(data), list[int]()
    last, was_zero, asked = _FIRST, 0, 0
    for _ in range(size):
        was_zero = ask(_ZERO + was_zero)
        if was_zero:
            values.append(0)
            continue
        if not ask(_SAME):
            sign = -1 if ask(_DOWN) else 1
            step = 1
            while step <= most and ask(_MORE + min(step, _STEPS) - 1):
                step += 1
            last += sign * step
            asked += step + 1
            if asked > _TOGETHER:
                spend(_QUESTION_WORK * asked)
                asked = 0
        if not 1 <= last <= most:
            raise CodingError("a model parameter is out of range: the stream is damaged")
        values.append(last)
    spend(_QUESTION_WORK * asked)
    return values


def _questions(data: Decoder) -> Callable[[int], int]:
    """Returns the function that reads the answer to a question: `Decoder.bit` and `_Odds.learn` in one.

    The decoder moves on with it; calls of both, for each question, take thrice the time.
    """
    stream, end, p0_of, rate_of = data.data, len(data.data), [HALF] * (_MORE + _STEPS), [2] * (_MORE + _STEPS)

    def ask(question: int) -> int:
        x, p0, rate = data.x, p0_of[question], rate_of[question]
        slot = x & SLOT
        bit = slot >= p0
        if bit:
            x = (TOTAL - p0) * (x >> PROB_BITS) + slot - p0
            p0 += -p0 // rate
        else:
            x = p0 * (x >> PROB_BITS) + slot
            p0 += (TOTAL - p0) // rate
        while x < LOW and data.at < end:
            x = x << 8 | stream[data.at]
            data.at += 1
        data.x = x
        p0_of[question] = _LEAST if p0 < _LEAST else min(p0, TOTAL - _LEAST)
        if rate < _SLOWEST:
            rate_of[question] = rate + 1
        return bit

    return ask
