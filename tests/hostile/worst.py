"""The most work that few bytes can ask for, by coder: files with every checksum right.

`benchmarks/bench_hostile.py` prints what becomes of each, with seconds of the processor and memory.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import msgpack
import numpy as np
import torch

from hostile.outcome import memory, reset_peak
from hostile.reseal import reseal
from pithnet.artifact import Metadata, decode
from pithnet.artifact.budget import SMALL, Meter, allowance
from pithnet.artifact.coders import POSITION_NUMBERS, SYMBOL_NUMBERS
from pithnet.artifact.container import pack, unpack
from pithnet.artifact.decoder import decode_records
from pithnet.artifact.layout import Entry
from pithnet.artifact.wire import block
from pithnet.coding import encode_positions, encode_symbols, huffman
from pithnet.coding.bitpack import pack_bits, put_varint
from pithnet.coding.lanes_head import Head
from pithnet.coding.rans import Encoder
from pithnet.coding.rans_symbols import _Model
from pithnet.coding.smallints import put_vector
from pithnet.errors import ArtifactError

Body = tuple[tuple[int, ...], bytes]


class Kind(NamedTuple):
    """Records that cost much for their bytes; a file repeats them."""

    name: str
    bodies: list[Body]
    dtype: torch.dtype = torch.float32


def file_of(*bodies: Body, dtype: torch.dtype = torch.float32) -> bytes:
    """A file of records, each given by its shape and its body."""
    layout = [Entry(f"l{i}", shape, dtype) for i, (shape, _) in enumerate(bodies)]
    return pack(Metadata(), layout, [], [], [body for _, body in bodies])


def of_symbols(method: str, stream: bytes) -> bytes:
    """The body of a record: numbers 0, 1, ... by a coder."""
    return b"\x05\x00\x00" + bytes([SYMBOL_NUMBERS[method]]) + stream


def of_positions(method: str, stream: bytes, behind: bytes = b"\x03") -> bytes:
    """The body of a record of positions, and then by default the constant 0."""
    return b"\x83" + bytes([POSITION_NUMBERS[method]]) + block(stream) + behind


def few_lanes(count: int) -> bytes:
    """A stream of `lanes` of zeros alone, in as few lanes, and with as large tables, as can be."""
    narrow = 8
    while narrow**2 << 8 < count:
        narrow *= 2
    out = Encoder()
    Head(narrow, 0, 14, 0, (0, 0, 0), [1, *[0] * 255]).put(out)
    return put_varint(len(out.bytes())) + out.bytes() + bytes(2 * narrow + narrow // 2)


def _symbols(method: str, symbols: np.ndarray) -> Body:
    everywhere = np.ones(symbols.shape, bool)
    return symbols.shape, of_symbols(method, encode_symbols(symbols, method, everywhere)[1])


def _positions(method: str, mask: np.ndarray) -> Body:
    return mask.shape, of_positions(method, encode_positions(mask, method)[1])


@cache
def _vector(*entries: int) -> bytes:
    out = Encoder()
    put_vector(out, list(entries))
    return block(out.bytes())


def restless_model() -> Body:
    """Eight symbols by rans, whose model goes up and down: 260,000 questions in 1.6 kB."""
    out, model = Encoder(), _Model(2, 0, [1, 255] * 512)
    model.put(out)
    for _ in range(8):
        out.put(0, int(model.frequencies()[0]))
    return (2, 4), of_symbols("rans", out.bytes())


def one_by_one(k: int, lengths: list[int]) -> Body:
    """Zeros by huffman in 2**k lanes, each code as long as the first."""
    count = huffman.ONE_LANE + 1
    pairs, lanes = (count + 1) // 2, 1 << k
    sizes = [2 * (pairs // lanes + (lane < pairs % lanes)) for lane in range(lanes)]
    sizes[(pairs - 1) % lanes] -= 1
    bits = np.array(sizes) * lengths[0]
    width = int(bits.max() - bits.min()).bit_length()
    head = bytes([k]) + put_varint(int(bits.min())) + bytes([width]) + pack_bits(bits - bits.min(), width)
    return (count,), of_symbols("huffman", _vector(*lengths) + head + bytes((int(bits.sum()) + 7) // 8))


def kinds(part: int = 1) -> Iterator[Kind]:
    """Yields what costs most by each coder, in records of about 2**20 / `part` numbers."""
    n = (1 << 20) // part
    yield from _of_loops(n)
    yield from _of_huffman(n)
    yield from _of_kernels(n)
    yield from _of_codings(n)
    rng, zeros = np.random.default_rng(0), 1 << 16
    yield Kind("lanes, few", [((max(n, zeros),), of_symbols("lanes", few_lanes(max(n, zeros))))])
    yield Kind("lanes, 2**16", [((zeros,), of_symbols("lanes", few_lanes(zeros)))])
    for levels in (2, 256):
        symbols = rng.integers(0, levels, (max(n // 9 // 64, 114), 64, 3, 3))
        yield Kind(f"lanes, {levels} levels", [_symbols("lanes", symbols)])


def _of_loops(n: int) -> Iterator[Kind]:
    rng = np.random.default_rng(0)
    for method in ("rans", "neighbours"):
        stream = of_symbols(method, encode_symbols(np.zeros(9, int), method, np.ones(9, bool))[1])
        yield Kind(f"{method}, zeros", [((n,), stream)])
        yield Kind(f"{method}, few zeros", [((2, 4), stream)])
        yield Kind(f"{method}, rarely 1", [_symbols(method, rng.binomial(1, 0.01, (n // 576, 64, 3, 3)))])
        for levels in (2, 16, 250):
            dense = rng.integers(0, levels, (max(n // 576, 8), 64, 3, 3))
            yield Kind(f"{method}, {levels} levels", [_symbols(method, dense)])
    yield Kind("rans, 1,024 levels once", [_symbols("rans", np.arange(1024))])
    yield Kind("rans, a restless model", [restless_model()])
    yield Kind("neighbours, 256 levels once", [_symbols("neighbours", np.arange(256))])


def _of_huffman(n: int) -> Iterator[Kind]:
    rng = np.random.default_rng(0)
    one = of_symbols("huffman", huffman.encode(np.zeros(9, int)))
    yield Kind("huffman, one level", [((16 * n,), one)])
    yield Kind("huffman, one level as float64", [((n,), one)], torch.float64)
    yield Kind("huffman, 2 levels", [_symbols("huffman", rng.integers(0, 2, 131_072))])
    yield Kind("huffman, 65,536 levels", [_symbols("huffman", rng.integers(0, 65_536, 131_072))])
    few = 0 if n == 1 << 20 else 5
    for k, lengths in ((few, [1, 1]), (3, [1, 1]), (few, [16] * 65_536), (6, [16] * 65_536)):
        yield Kind(f"huffman, {1 << k} lanes of {lengths[0]} bits a code", [one_by_one(k, lengths)])
    yield Kind("huffman, long codes", [((2, 4), of_symbols("huffman", _vector(*range(1, 17), 16) + b"\0"))])
    yield Kind("huffman, a long model", [((2, 2), of_symbols("huffman", _vector(*[0] * 65_535, 1)))])


def _of_kernels(n: int) -> Iterator[Kind]:
    rng = np.random.default_rng(0)
    for shape in ((n // 512, 4096), (n // 64, 8), (n // 64, 1), (n // 4608, 512, 3, 3), (1, 8)):
        yield Kind(f"kernels, {shape} of zeros", [(shape, of_positions("kernels", b""))])
        yield Kind(f"kernels, {shape} of ones", [_positions("kernels", np.ones(shape, bool))])
    for share in (0.02, 0.1, 0.5, 0.9):
        yield Kind(
            f"kernels, {share:.0%} ones", [_positions("kernels", rng.random((n // 4096, 512, 3, 3)) < share)]
        )
    for share in (0.01, 0.5):
        yield Kind(f"gaps, {share:.0%} ones", [_positions("gaps", rng.random(n) < share)])
    last = {level: huffman.encode(np.full(9, level)) for level in (0, 1, 255)}
    for b, level in ((1, 0), (1, 1), (8, 255)):
        gaps = bytes([b]) + put_varint(4 * n // (level or 1)) + last[level]
        yield Kind(f"gaps, {b} bits, {level}", [((4 * n,), of_positions("gaps", gaps))])
    yield Kind("bitmap", [_positions("bitmap", rng.random(n) < 0.5)])
    yield Kind("constant positions", [((16 * n,), of_positions("constant", b"\1"))])


def _of_codings(n: int) -> Iterator[Kind]:
    rows = b"\x09\x00\x01\x00" + b"\x00\x00" + b"\x00\x00" + put_varint(1 << 29)
    one = bytes([SYMBOL_NUMBERS["huffman"]]) + huffman.encode(np.zeros(9, int))
    for shape in ((n // 256, 1024), (4 * n, 1), (1, 4 * n)):
        yield Kind(f"row-grid, {shape}", [(shape, rows + one)])
        yield Kind(f"column-grid, {shape}", [(shape, b"\x0a" + rows[1:] + one)])
    yield Kind("row-grid, groups of 2", [((n // 256, 1024), b"\x09\x02" + rows[2:] + one)])
    yield Kind("float", [((n // 4,), b"\x04\x17" + bytes((n // 4 * 23 + 7) // 8) + one)])
    yield Kind("palette", [((2, 2), b"\x08" + put_varint(65_535) + b"\x01\x00\x00" + one)])
    for dtype in (torch.float32, torch.float16, torch.float64):
        yield Kind(f"constant, {dtype}", [((16 * n,), b"\x03\x3f")], dtype)
    yield Kind("constant, 1 x 1", [((1, 1), b"\x03\x3f")])
    yield Kind("deflate", [((16 * n,), b"\x01" + zlib.compress(bytes(16 * n), 9))], torch.uint8)


def filled(kind: Kind) -> tuple[bytes, bool]:
    """A file that takes a little more than the budget, or all of 1 MB; and whether it is the first."""
    alone = file_of(*kind.bodies, dtype=kind.dtype)
    meter = Meter(len(alone))
    try:
        for _ in decode_records(unpack(alone), 1 << 40, meter):
            pass
    except ArtifactError:  # after all that work
        pass
    # The header of many records grows by few bytes for each.
    times = allowance(0) // (meter.spent - 20 * unpack(alone).header_bytes) + 1
    most = (SMALL - 200) // (max(len(alone) - 60, 1) + 16 * len(kind.bodies))
    bodies = kind.bodies * max(min(times, most), 1)
    return file_of(*bodies, dtype=kind.dtype), times <= most


def headers(million: int = 1_000_000) -> Iterator[tuple[str, bytes]]:
    """Yields files whose work is in their headers, with up to so many values."""
    table = zlib.compress(msgpack.packb([["a"], bytes(1), [[1, 1]]]))
    for what, value in (
        ("nils", [None] * million),
        ("integers", [1] * million),
        ("lists", [[]] * million),
        ("maps", [{}] * million),
        ("keys", {f"{i:x}": 1 for i in range(million // 7)}),
    ):
        yield f"a recipe of {what}", _with_header({"l": table, "r": {"x": value}})
        if what in ("nils", "lists", "maps"):
            inflated = zlib.compress(msgpack.packb([value * 4, b"", []]), 9)
            yield f"a layout of {what}", _with_header({"l": inflated})
            yield (
                f"a cut of {what}",
                _with_header({"l": table, "z": zlib.compress(msgpack.packb([{}, value]))}),
            )
    twice = b"\x81\xa1r\xdf" + (100_001).to_bytes(4, "big")
    keys = b"".join(b"\xa5" + f"{i:05d}".encode() + b"\x01" for i in [*range(100_000), 99_999])
    yield "a key twice", _with_header(twice + keys)
    many = 1 << 15 if million == 1_000_000 else 1 << 12
    names = [f"{i:x}" for i in range(many)]
    layout = zlib.compress(msgpack.packb([names, bytes(many), [[1, 1]] * many]), 9)
    yield "all tied", _with_header({"l": layout, "t": [k for i in range(1, many) for k in (i, 0)]})
    yield "many records", _with_header({"l": layout}, many)
    vectors = zlib.compress(msgpack.packb([[f"{name}.w" for name in names], bytes(many), [[1]] * many]), 9)
    yield "many vectors in a record", _with_header({"l": vectors})


def _with_header(header: Any, records: int = 1) -> bytes:
    packed = header if isinstance(header, bytes) else msgpack.packb(header)
    return reseal(b"PITH\x01" + block(packed) + (block(b"\x03\x3f") + bytes(4)) * records + bytes(4))


def tried(data: bytes) -> tuple[str, float, int]:
    """What becomes of a file, seconds of the processor, and the peak of memory beyond its tensors."""
    reset_peak()
    before, start, kept = memory("VmRSS"), time.process_time(), 0
    try:
        kept = sum(v.numel() * v.element_size() for v in decode(data)[0].values())
        what = "read"
    except ArtifactError as e:
        what = str(e)
        done = int((re.findall(r"^record (\d+)", what) or ["0"])[0])  # records were read before that one
        kept = sum(entry.words * 4 for entry in unpack(data).layout[:done]) if done else 0
    return what, time.process_time() - start, max(memory("VmHWM") - before - kept, 0)
