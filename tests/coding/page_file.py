"""A .pith file, read as docs/format.md says, without a line of pithnet; sound files only.

Tensors come as float32 or integer arrays (bfloat16 as the float32 of the same value).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import msgpack
import numpy as np

from . import page_reader
from .page_reader import Bytes

DTYPES = ("<f4", "<f8", "<f2", "bfloat16", "i1", "<i2", "<i4", "<i8", "u1", "?")
FLOAT32, FLOAT16, BFLOAT16, INT64 = 0, 2, 3, 7
FLOATING = range(4)
SYMBOLS = {1: page_reader.huffman, 2: page_reader.rans}
WHERE = {3: page_reader.neighbours, 4: page_reader.lanes}
POSITIONS = {1: page_reader.constant, 2: page_reader.bitmap, 3: page_reader.gaps, 4: page_reader.kernels}


@dataclass(frozen=True)
class Entry:
    name: str
    dtype: int
    shape: tuple[int, ...]

    @property
    def prefix(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


def read(data: bytes, layout: Sequence[Entry] = ()) -> dict[str, np.ndarray]:
    """The tensors. `layout`: the architecture's, for a file that has none of its own."""
    source = Bytes(data)
    assert source.take(4) == b"PITH"
    assert source.byte() in (1, 2)
    header = msgpack.unpackb(source.block())
    if "l" in header:
        table = msgpack.unpackb(zlib.decompress(header["l"]))
        layout = [Entry(name, dtype, tuple(shape)) for name, dtype, shape in zip(*table, strict=True)]
    pairs = iter(header.get("t", []))
    tied = dict(zip(pairs, pairs, strict=True))
    numbers = iter(header.get("k", []))
    counters = dict(zip(numbers, numbers, strict=True))
    floating = [entry for entry in layout if entry.dtype in FLOATING]
    bn = {e.prefix for e in floating if e.last == "running_mean"}
    bn &= {e.prefix for e in floating if e.last == "running_var"}
    tensors: dict[str, np.ndarray] = {}
    records: dict[object, list[Entry]] = {}
    for i, entry in enumerate(layout):
        if entry.prefix in bn and (entry.last, entry.dtype, entry.shape) == (
            "num_batches_tracked",
            INT64,
            (),
        ):
            tensors[entry.name] = np.array(counters.get(i, 0))
        elif i not in tied:
            key = i if len(entry.shape) >= 2 else (entry.dtype, entry.last, entry.prefix in bn)
            records.setdefault(key, []).append(entry)
    for entries in records.values():
        body = source.block()
        assert zlib.crc32(body) == int.from_bytes(source.take(4), "little")
        tensors |= record(Bytes(body), entries)
    assert zlib.crc32(data[: source.at]) == int.from_bytes(source.take(4), "little")
    source.end()
    for i, j in tied.items():
        tensors[layout[i].name] = tensors[layout[j].name]
    return {entry.name: tensors[entry.name] for entry in layout}


def record(source: Bytes, entries: Sequence[Entry]) -> dict[str, np.ndarray]:
    """The tensors of one record: of one entry, or of all those that share it."""
    sizes = [prod(entry.shape) for entry in entries]
    shape = entries[0].shape if len(entries) == 1 else (sum(sizes),)
    dtype = entries[0].dtype
    zeros_out, coding = divmod(source.byte(), 128)
    mask = sum(sizes) * [True]
    if zeros_out:
        read_mask = POSITIONS[source.byte()]
        mask = read_mask(source.block(), shape)
    ends = np.cumsum(sizes)
    stored = [sum(mask[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    values = np.zeros(len(mask), _numpy(dtype))
    values[mask] = _values(coding, source, Stored(stored, dtype, mask, shape))
    source.end()
    parts = np.split(values, ends[:-1])
    return {entry.name: part.reshape(entry.shape) for entry, part in zip(entries, parts, strict=True)}


@dataclass(frozen=True)
class Stored:
    """How many values each entry of a record stores, their dtype, and where they stand."""

    counts: list[int]
    dtype: int
    mask: list[bool]
    shape: tuple[int, ...]

    @property
    def n(self) -> int:
        return sum(self.counts)


def _values(coding: int, source: Bytes, stored: Stored) -> np.ndarray:
    n = stored.n
    match coding:
        case 0:
            return _raw(source.rest(), stored.dtype)
        case 1:
            return _raw(zlib.decompress(source.rest()), stored.dtype)
        case 2:
            return _raw(source.rest(), FLOAT16)
        case 3:
            return np.full(n, _raw(source.rest().rjust(4, b"\0"), FLOAT32))
        case 4:
            w = source.byte()
            mantissas = np.array(source.fields(n, w), np.uint32) << (23 - w)
            return (np.array(_symbols(source, stored), np.uint32) << 23 | mantissas).view(np.float32)
        case 5:
            s, q0 = source.signed(), source.signed()
            return np.array([(q0 + k) * 2.0**-s for k in _symbols(source, stored)])
        case 6:
            each = [source.signed() if count else 0 for count in stored.counts]
            q0 = source.signed()
            return (q0 + np.array(_symbols(source, stored))) * 2.0 ** -np.repeat(each, stored.counts)
        case 7:
            scale, k0 = _raw(source.take(4), FLOAT32), source.signed()
            return (k0 + np.array(_symbols(source, stored))).astype(np.float32) * scale
        case 8:
            levels = _codebook(source, source.varint() + 1)
            return levels[_symbols(source, stored)]
        case 9:
            return _row_grid(source, stored, np.reshape(stored.mask, (stored.shape[0], -1)), np.arange(n))
        case 10:
            return _column_grid(source, stored)
    raise AssertionError(coding)


def _row_grid(source: Bytes, stored: Stored, entries: np.ndarray, order: np.ndarray) -> np.ndarray:
    """entries: the mask, a row for whatever has a scale; order: which stored value comes next in them."""
    group, factor, low = source.varint(), source.varint(), source.signed()
    size = group or entries.shape[1]
    counts = [int(e[i : i + size].sum()) for e in entries for i in range(0, len(e), size)]
    counts = [count for count in counts if count]
    width, least = source.byte(), source.signed()
    remainders = [least + field for field in source.fields(len(counts), width)]
    width, shift, lowest = source.byte(), source.byte(), source.varint()
    patterns = [lowest + (field << shift) for field in source.fields(len(counts), width)]
    scales = np.array(patterns, np.uint32).view(np.float32)
    symbols = np.array(_symbols(source, stored))[order]
    whole = factor * (low + symbols) + np.repeat(remainders, counts)
    return whole.astype(np.float32) * np.repeat(scales, counts)


def _column_grid(source: Bytes, stored: Stored) -> np.ndarray:
    mask = np.reshape(stored.mask, stored.shape)
    columns = np.swapaxes(mask, -1, -2)
    order = np.swapaxes(np.cumsum(mask).reshape(mask.shape) - 1, -1, -2)[columns]
    values = np.empty(stored.n, np.float32)
    values[order] = _row_grid(source, stored, columns.reshape(-1, columns.shape[-1]), order)
    return values


def _symbols(source: Bytes, stored: Stored) -> list[int]:
    coder = source.byte()
    if coder in WHERE:
        return WHERE[coder](source.rest(), stored.n, stored.mask, stored.shape)
    return SYMBOLS[coder](source.rest(), stored.n)


def _codebook(source: Bytes, K: int) -> np.ndarray:
    form = source.byte()
    if form == 0:
        return _raw(source.take(4 * K), FLOAT32)
    if form == 32:
        return _raw(source.take(2 * K), FLOAT16)
    s, q = source.signed(), source.signed()
    distances = [field + 1 for field in source.fields(K - 1, form - 1)]
    return np.cumsum([q, *distances]) * 2.0**-s


def _numpy(dtype: int) -> str:
    return "<f4" if dtype == BFLOAT16 else DTYPES[dtype]


def _raw(data: bytes, dtype: int) -> np.ndarray:
    if dtype == BFLOAT16:
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, DTYPES[dtype])
