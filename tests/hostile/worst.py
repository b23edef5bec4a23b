"""The most work that few bytes can ask for, by coder: files with every checksum right.

    python tests/hostile/worst.py

prints what becomes of each, with seconds of the processor and the peak of memory beyond the tensors.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgpack
import numpy as np
import torch

from hostile.outcome import memory, reset_peak
from pithnet.artifact import Metadata, decode
from pithnet.artifact.coders import POSITION_NUMBERS, SYMBOL_NUMBERS
from pithnet.artifact.container import pack
from pithnet.artifact.layout import Entry
from pithnet.artifact.wire import block
from pithnet.coding import encode_symbols, huffman
from pithnet.coding.bitpack import put_varint
from pithnet.coding.lanes_head import Head
from pithnet.coding.rans import Encoder
from pithnet.coding.smallints import put_vector
from pithnet.errors import ArtifactError

MILLION = 1 << 20


def file_of(*bodies: tuple[tuple[int, ...], bytes], dtype: torch.dtype = torch.float32) -> bytes:
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


def cases(part: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yields a name and a file; those of many records have only a part of these."""
    zeros = {m: encode_symbols(np.zeros(9, int), m, np.ones(9, bool))[1] for m in SYMBOL_NUMBERS}
    last = {n: huffman.encode(np.full(9, n)) for n in (0, 1, 255)}
    for method in ("rans", "neighbours"):
        record = of_symbols(method, zeros[method])
        for records in (1, 8, 40):
            yield f"{method}, {records} x 2**20", file_of(*[((1 << 20,), record)] * records)
        yield f"{method}, 20,000 x 8", file_of(*[((2, 4), record)] * (20_000 // part))
    yield "huffman, 2**28", file_of(((1 << 28,), of_symbols("huffman", zeros["huffman"])))
    yield (
        "huffman, 2**24 as float64",
        file_of(((1 << 24,), of_symbols("huffman", zeros["huffman"])), dtype=torch.float64),
    )
    long = Encoder()
    put_vector(long, [0] * 65_535 + [1])
    model = put_varint(len(long.bytes())) + long.bytes()
    yield (
        "huffman, 5,000 models of 2**16",
        file_of(*[((2, 2), of_symbols("huffman", model))] * (5000 // part)),
    )
    for n in (16, 20, 23, 24, 28):
        yield f"lanes, 2**{n}", file_of(((1 << n,), of_symbols("lanes", few_lanes(1 << n))))
    yield "lanes, 200 x 2**16", file_of(*[((1 << 16,), of_symbols("lanes", few_lanes(1 << 16)))] * 200)
    for shape in (
        (MILLION, 1),
        (1 << 25, 1),
        (1, 1 << 25),
        (1 << 14, 8),
        (50_000, 8),
        (1 << 11, 1 << 11, 3, 3),
    ):
        yield f"kernels, {shape}", file_of((shape, of_positions("kernels", b"")))
    yield "kernels, 20,000 x (1, 8)", file_of(*[((1, 8), of_positions("kernels", b""))] * (20_000 // part))
    for n in (24, 28):
        for b, symbol in ((1, 0), (1, 1), (8, 255)):
            gaps = bytes([b]) + put_varint((1 << n) // (symbol or 1)) + last[symbol]
            yield f"gaps, 2**{n}, {b} bits, {symbol}", file_of(((1 << n,), of_positions("gaps", gaps)))
    for dtype in (torch.float32, torch.float16, torch.float64):
        yield f"constant, 2**28 {dtype}", file_of(((1 << 28,), b"\x03\x3f"), dtype=dtype)
    yield "constant positions, 2**28", file_of(((1 << 28,), of_positions("constant", b"\1")))
    for n in (22, 24, 26):
        rows = b"\x09\x00\x01\x00" + b"\x00\x00" + b"\x00\x00" + put_varint(1 << 29)
        one = bytes([SYMBOL_NUMBERS["huffman"]]) + zeros["huffman"]
        yield f"row-grid, 2**{n}", file_of(((1 << n - 10, 1 << 10), rows + one))
        yield f"row-grid, 2**{n} rows", file_of(((1 << n, 1), rows + one))
        yield f"column-grid, 2**{n}", file_of(((1 << n - 10, 1 << 10), b"\x0a" + rows[1:] + one))
    bomb = zlib.compress(bytes((1 << 28) // part), 9)
    yield "deflate, 2**28", file_of((((1 << 28) // part,), b"\x01" + bomb), dtype=torch.uint8)
    for entries, records in ((32_768 // part, 32_768 // part), (100_000, 1)):
        table = [[f"{i:x}" for i in range(entries)], bytes(entries), [[1, 1]] * entries]
        yield f"{entries} entries", _with_layout(zlib.compress(msgpack.packb(table), 9), records)


def _with_layout(table: bytes, records: int) -> bytes:
    from hostile.reseal import reseal

    header = msgpack.packb({"l": table})
    return reseal(b"PITH\x01" + block(header) + (block(b"\x03") + bytes(4)) * records + bytes(4))


def tried(data: bytes) -> tuple[str, float, int]:
    """What becomes of a file, seconds of the processor, and the peak of memory beyond its tensors."""
    import time

    reset_peak()
    before, start, kept = memory("VmRSS"), time.process_time(), 0
    try:
        kept = sum(v.numel() * v.element_size() for v in decode(data)[0].values())
        what = "read"
    except ArtifactError as e:
        what = str(e)
    return what, time.process_time() - start, max(memory("VmHWM") - before - kept, 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, data in cases():
        what, seconds, peak = tried(data)
        print(
            f"{name:34} {len(data):9,} bytes {seconds:6.2f} s {peak / 1e6:6.0f} MB  {what[-90:]}", flush=True
        )
