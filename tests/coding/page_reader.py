"""The streams of docs/coders.md, read as the page says: plain, slow, and without a line of pithnet.

Names are those of the page. Masks and symbols are flat lists in C order; sound streams only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise
from math import floor, prod
from typing import NamedTuple

T = 2**14


class Bytes:
    """The bytes of a stream or a file, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        taken = self.data[self.at : self.at + length]
        assert len(taken) == length
        self.at += length
        return taken

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        low = self.byte()
        return low if low < 128 else low - 128 + 128 * self.varint()

    def signed(self) -> int:
        v = self.varint()
        return -(v + 1) // 2 if v % 2 else v // 2

    def block(self) -> bytes:
        return self.take(self.varint())

    def fields(self, count: int, w: int) -> list[int]:
        bits = bit_string(self.take((count * w + 7) // 8))
        assert "1" not in bits[count * w :]
        return [int(bits[i * w : (i + 1) * w] or "0", 2) for i in range(count)]

    def end(self) -> None:
        assert self.at == len(self.data)


def bit_string(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


class Rans:
    def __init__(self, stream: bytes) -> None:
        self.bytes = Bytes(stream)
        self.x = int.from_bytes(self.bytes.take(min(3, len(stream))), "big")
        self.refill()

    def refill(self) -> None:
        while self.x < 2**22 and self.bytes.at < len(self.bytes.data):
            self.x = 256 * self.x + self.bytes.byte()

    def symbol(self, starts: Sequence[int]) -> int:
        """The symbol s whose interval, starts[s] .. starts[s + 1] - 1, has the slot. `starts` ends with T."""
        slot = self.x % T
        s = bisect_right(starts, slot) - 1
        freq = starts[s + 1] - starts[s]
        self.x = freq * (self.x // T) + slot - starts[s]
        self.refill()
        return s

    def bit(self, p0: int) -> int:
        return self.symbol((0, p0, T))

    def field(self, w: int) -> int:
        return int("0" + "".join(str(self.bit(T // 2)) for _ in range(w)), 2)

    def end(self) -> None:
        assert self.x == 0
        self.bytes.end()


def completed(freq: list[int], whole: int = T) -> list[int]:
    """Where the symbols' intervals start, and the whole."""
    freq[freq.index(max(freq))] += whole - sum(freq)
    return [0, *accumulate(freq)]


def short_vector(source: Rans) -> list[int]:
    p0, rate = [T // 2] * 16, [2] * 16

    def ask(question: int) -> int:
        bit = source.bit(p0[question])
        p0[question] += ((0 if bit else T) - p0[question]) // rate[question]
        p0[question] = min(max(p0[question], 16), T - 16)
        rate[question] = min(rate[question] + 1, 32)
        return bit

    entries: list[int] = []
    last = 4
    for _ in range(source.field(source.field(5)) + 1):
        if ask(1 if entries[-1:] == [0] else 0):
            entries.append(0)
            continue
        if not ask(2):
            below, d = ask(3), 1
            while ask(3 + min(d, 12)):
                d += 1
            last += -d if below else d
        entries.append(last)
    return entries


def huffman(stream: bytes, n: int) -> list[int]:
    if n == 0:
        return []
    source = Bytes(stream)
    model = Rans(source.block())
    lengths = short_vector(model)
    model.end()
    used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    if len(used) == 1:
        source.end()
        return n * [used[0][1]]
    codes, code, before = {}, 0, 0
    for length, symbol in used:
        code <<= length - before
        codes[f"{code:0{length}b}"] = symbol
        code, before = code + 1, length
    assert code == 2**before
    return _many_lanes(source, codes, n) if n > 131_072 else _lane(bit_string(source.rest()), codes, n)


def _many_lanes(source: Bytes, codes: dict[str, int], n: int) -> list[int]:
    lanes, s, w = 2 ** source.byte(), source.varint(), source.byte()
    sizes = [s + field for field in source.fields(lanes, w)]
    bits = bit_string(source.rest())
    lane_of = [symbol // 2 % lanes for symbol in range(n)]
    due = Counter(lane_of)
    found = []
    for lane, size in enumerate(sizes):
        found.append(iter(_lane(bits[:size], codes, due[lane])))
        bits = bits[size:]
    assert bits in "0000000"
    return [next(found[lane]) for lane in lane_of]


def _lane(bits: str, codes: dict[str, int], n: int) -> list[int]:
    """The n symbols of a bit string; zeros that fill its last byte may follow."""
    symbols, code = [], ""
    for bit in bits:
        code += bit
        if code in codes and len(symbols) < n:
            symbols.append(codes[code])
            code = ""
    assert len(symbols) == n
    assert code in "0000000"
    return symbols


def rans(stream: bytes, n: int) -> list[int]:
    if n == 0:
        return []
    source = Rans(stream)
    f, b = source.field(2), source.field(2)
    weights = [_weight(level, f) for level in short_vector(source) for _ in range(2**b)]
    total = sum(weights)
    starts = completed([max(weight * T // total, 1) if weight else 0 for weight in weights])
    symbols = [source.symbol(starts) for _ in range(n)]
    source.end()
    return symbols


W = (4_294_967_296, 3_611_622_602, 3_037_000_499, 2_553_802_833)


def _weight(level: int, f: int) -> int:
    if level == 0:
        return 0
    octaves, part = divmod(level - 1, 2**f)
    return max(W[part * 4 // 2**f] // 2**octaves, 1)


def neighbours(stream: bytes, n: int, mask: Sequence[bool], shape: Sequence[int]) -> list[int]:
    if n == 0:
        return []
    source = Rans(stream)
    L = source.field(8) + 1
    w = L.bit_length()
    middle, far = source.field(w + 1), source.field(w)
    C = [[0] * L for _ in range(5)]
    score = len(mask) * [0]
    symbols: list[int] = []
    seen: list[tuple[int, int]] = []  # in this stretch: contexts and symbols
    starts, stretch = _context_starts(C), 16.0
    for position in (i for i, stored in enumerate(mask) if stored):
        if len(seen) == int(stretch):
            for c, s in seen:
                C[c][s] += 1
            while sum(map(sum, C)) > 65_536:
                C = [[count // 2 for count in counts] for counts in C]
            seen, starts, stretch = [], _context_starts(C), 1.5 * stretch
        S = sum(score[i] for i in _neighbours_of(position, shape))
        context = 0 if S == 0 else (1 if S < 0 else 2) + 2 * (abs(S) > far)
        symbol = source.symbol(starts[context])
        score[position] = 2 * symbol - middle
        symbols.append(symbol)
        seen.append((context, symbol))
    assert len(symbols) == n
    source.end()
    return symbols


def _neighbours_of(position: int, shape: Sequence[int]) -> list[int]:
    found = []
    if len(shape) >= 2 and position % shape[-1] > 0:
        found.append(position - 1)
    if len(shape) >= 4 and position // shape[-1] % shape[-2] > 0:
        found.append(position - shape[-1])
    return found


def _context_starts(C: list[list[int]]) -> list[list[int]]:
    L = len(C[0])
    prior = [2 * sum(counts) + 1 for counts in zip(*C, strict=True)]
    found = []
    for counts in C:
        weight = [count * sum(prior) + 10 * p for count, p in zip(counts, prior, strict=True)]
        total = sum(weight)
        found.append(completed([1 + v * (T - L) // total for v in weight]))
    return found


def lanes(stream: bytes, n: int, mask: Sequence[bool], shape: Sequence[int]) -> list[int]:
    if n == 0:
        return []
    cut = _kernels_of(shape if n == len(mask) else (n,))
    source = Bytes(stream)
    head = LanesHead(Rans(source.block()), cut)
    assert 256 * head.lanes**2 >= n
    states = Lanes(source, head.lanes)
    C = [Counter() for _ in range(9 * head.classes)]
    found: list[list[int]] = []
    stretch, starts = 1, {}
    left: list[list[tuple[int, int]]] = []  # blocks of this stretch: contexts and symbols
    for w, in_tail in head.blocks(cut.rows * cut.columns):
        if len(left) == stretch:
            for c, s in (pair for block in left for pair in block):
                C[c][s] += 1
            stretch, left, starts = stretch + stretch // 2 + 1, [], {}
        if in_tail:
            states.end(w)
        kernels = [[] for _ in range(w)]
        classes = [head.class_(*divmod(len(found) + lane, cut.columns)) for lane in range(w)]
        left.append([])
        for j in range(cut.P):
            for lane, kernel in enumerate(kernels):
                c = 9 * classes[lane] + head.sum_context(_neighbours_in(kernel, cut.width))
                if c not in starts:
                    starts[c] = head.starts(C[c])
                kernel.append(states.symbol(lane, starts[c], head.N))
                left[-1].append((c, kernel[j]))
            states.refill(w)
        found += kernels
    states.end(0)
    symbols = [s for kernel in found for s in kernel]
    assert all(s == head.filler for s in symbols[n:])
    return symbols[:n]


class Kernels(NamedTuple):
    P: int
    width: int
    rows: int
    columns: int


def _kernels_of(shape: Sequence[int]) -> Kernels:
    kernel, length = prod(shape[2:]), prod(shape[1:])
    if 2 <= kernel <= 25:
        return Kernels(kernel, shape[-1], shape[0], shape[1])
    for P in (*range(8, 17), 7, 6, 5, 4):
        if len(shape) >= 2 and length % P == 0:
            return Kernels(P, P, shape[0], length // P)
    return Kernels(8, 8, 1, (prod(shape) + 7) // 8)


def _neighbours_in(kernel: Sequence[int], width: int) -> list[int]:
    j = len(kernel)
    places = [j - 1] * (j % width > 0) + [j - width] * (j >= width)
    return [kernel[place] for place in places]


class LanesHead:
    def __init__(self, source: Rans, cut: Kernels) -> None:
        self.lanes, self.tail = 8 * 2 ** source.field(4), source.field(4)
        self.narrow = [self.lanes >> i for i in range(1, 9) if self.lanes >> i >= 8]
        self.N = 2 ** (11 + source.field(2))
        self.middle = source.field(9)
        self.borders = [source.field(9) for _ in range(3)]
        self.share = _shares(short_vector(source))
        self.filler = self.share.index(max(self.share))
        self.classes = source.field(4) + 1
        self.shift, self.number = 0, (cut.rows + cut.columns) * [0]
        if self.classes > 1:
            self.shift = source.field(6)
            starts = [0, *accumulate(_shares(short_vector(source)))]
            self.number = [source.symbol(starts) for _ in self.number]
        self.rows = cut.rows
        source.end()

    def blocks(self, kernels: int) -> list[tuple[int, bool]]:
        """How many kernels each block has, and whether it is of the tail."""
        tail = [(lanes, True) for lanes in self.narrow for _ in range(self.tail)]
        before = kernels - self.tail * sum(self.narrow)
        return [(min(self.lanes, before - i), False) for i in range(0, before, self.lanes)] + tail

    def class_(self, row: int, column: int) -> int:
        number = self.number[row] + self.number[self.rows + column] - self.shift
        return max(0, min(number, self.classes - 1))

    def sum_context(self, neighbours: Sequence[int]) -> int:
        S = sum(2 * s - self.middle for s in neighbours)
        return 0 if S == 0 else 1 + 2 * sum(border < abs(S) for border in self.borders) + (S > 0)

    def starts(self, C: Counter[int]) -> list[int]:
        weight = [T * C[s] + 24 * share for s, share in enumerate(self.share)]
        total, M = sum(weight), sum(share > 0 for share in self.share)
        freq = [(share > 0) + w * (self.N - M) // total for w, share in zip(weight, self.share, strict=True)]
        return completed(freq, self.N)


def _shares(levels: Sequence[int]) -> list[int]:
    weights = [_weight(level, 1) for level in levels]
    total = sum(weights)
    starts = completed([max(weight * T // total, 1) if weight else 0 for weight in weights])
    return [after - start for start, after in pairwise(starts)]


class Lanes:
    """The states of all lanes, and the words that are left, the next one last."""

    def __init__(self, source: Bytes, lanes: int) -> None:
        low = [int.from_bytes(source.take(2), "little") for _ in range(lanes)]
        c = source.fields(lanes, 4)
        bits = bit_string(source.take((sum(c) + 7) // 8))
        self.x = []
        for length, lower in zip(c, low, strict=True):
            self.x.append(int("1" + bits[:length], 2) * 2**16 + lower)
            bits = bits[length:]
        assert bits in "0000000"
        rest = source.rest()
        self.words = [int.from_bytes(rest[i : i + 2], "little") for i in range(0, len(rest), 2)][::-1]

    def symbol(self, lane: int, starts: Sequence[int], N: int) -> int:
        slot = self.x[lane] % N
        s = bisect_right(starts, slot) - 1
        self.x[lane] = (starts[s + 1] - starts[s]) * (self.x[lane] // N) + slot - starts[s]
        return s

    def refill(self, w: int) -> None:
        for lane in range(w):
            if self.x[lane] < 2**16:
                self.x[lane] = 2**16 * self.x[lane] + self.words.pop()

    def end(self, w: int) -> None:
        """Lanes w and above end; with w = 0 all of them, and the stream."""
        v = [x - 2**16 for x in self.x[w:]]
        assert all(0 <= word < 2**16 for word in v)
        assert w or not any(v + self.words)
        self.words += reversed(v)
        del self.x[w:]


def constant(stream: bytes, shape: Sequence[int]) -> list[bool]:
    assert stream in (b"", b"\1")
    return prod(shape) * [stream == b"\1"]


def bitmap(stream: bytes, shape: Sequence[int]) -> list[bool]:
    return [bit == 1 for bit in Bytes(stream).fields(prod(shape), 1)]


def gaps(stream: bytes, shape: Sequence[int]) -> list[bool]:
    mask: list[bool] = []
    if stream:
        source = Bytes(stream)
        limit = 2 ** source.byte() - 1
        m = source.varint()
        for g in huffman(source.rest(), m):
            mask += g * [False] + [True] * (g < limit)
    return mask + [False] * (prod(shape) - len(mask))


SPREADS = (3, 4, 6, 8, 11, 16, 28, 80)
ATTRACTIONS = (3, 4, 5, 6, 7, 8, 10, 12)
STRENGTHS = (40, 150, 600, 4000)
E = (
    *(4_503_599_627_370_496, 4_911_210_218_475_899, 5_355_712_719_992_597, 5_840_446_135_085_607),
    *(6_369_051_672_525_773, 6_945_500_098_633_947, 7_574_121_564_787_630, 8_259_638_134_547_591),
)


def power(n: int) -> float:
    return E[n % 8] * 2.0 ** (n // 8 - 52)


def density(k: int) -> float:
    o = power(2 * k)
    return o / (1 + o)


@cache
def borders(K: int) -> list[float]:
    return [power(2 * k + 1) for k in range(-K, K)]


def class_(o: float, K: int) -> int:
    return bisect_right(borders(K), o)


def kernels(stream: bytes, shape: Sequence[int]) -> list[bool]:
    if prod(shape) == 0:
        return []
    rows, *others = shape if len(shape) >= 2 else (1, prod(shape))
    B, width, in_row = _cut(others)
    source = Rans(stream)
    p_start = density(source.field(7) - 60)
    S, t, G = SPREADS[source.field(3)], ATTRACTIONS[source.field(3)], STRENGTHS[source.field(2)]
    number = cache(lambda context: _starts_of_m(density(context - 84), S, B))
    arrangement = cache(lambda m: _tiles_with(m, B, width, t))
    above = in_row * [0]
    mask: list[bool] = []
    for row in range(rows):
        seen, ones = B * row, 0
        P = (sum(above) + 300 * p_start) / (seen * in_row + 300)
        bits: list[bool] = []
        for i in range(in_row):
            if i % 4 == 0:
                row_class = class_((ones + G * P) / (B * i - ones + G * (1 - P)) / (P / (1 - P)), 24)
            column_class = class_((above[i] + G * P) / (seen - above[i] + G * (1 - P)), 60)
            m = source.symbol(number(column_class + row_class))
            tiles, starts = arrangement(m)
            tile = tiles[source.symbol(starts) if 0 < m < B else 0]
            bits += [tile >> k & 1 == 1 for k in range(B)]
            above[i] += m
            ones += m
        assert not any(bits[prod(others) :])
        mask += bits[: prod(others)]
    source.end()
    return mask


def _cut(others: Sequence[int]) -> tuple[int, int, int]:
    """B, width and tiles in a row, for the lengths of all axes but the first."""
    length, kernel, last = prod(others), prod(others[1:]), others[-1]
    if 2 <= kernel <= 9:
        return kernel, last, length // kernel
    if kernel > 9 and 2 <= last <= 9:
        return last, last, length // last
    c = (length + 7) // 8
    B = (length + c - 1) // c
    return B, B, c


def _starts_of_m(p: float, S: int, B: int) -> list[int]:
    freq = []
    for m in range(B + 1):
        pmf = 1.0
        for j in range(m):
            pmf *= (p * S + j) / (S + j) * (B - j) / (j + 1)
        for j in range(B - m):
            pmf *= ((1 - p) * S + j) / (S + m + j)
        freq.append(1 + floor(pmf * (T - B - 2)))
    return completed(freq)


def _tiles_with(m: int, B: int, width: int, t: int) -> tuple[list[int], list[int]]:
    """The tiles with m ones, and where their intervals start."""
    tiles = [tile for tile in range(2**B) if tile.bit_count() == m]
    likelihoods = [t**pairs * 4 ** (12 - pairs) for pairs in (_pairs(tile, B, width) for tile in tiles)]
    total = sum(likelihoods)
    return tiles, completed([1 + v * (T - 2 * len(tiles)) // total for v in likelihoods])


def _pairs(tile: int, B: int, width: int) -> int:
    ones = {k for k in range(B) if tile >> k & 1}
    return sum((k + 1 in ones and (k + 1) % width > 0) + (k + width in ones) for k in ones)
