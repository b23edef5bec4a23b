"""Ways to damage a .pith file: blindly, or field by field as docs/format.md describes it."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

import msgpack

from hostile.reseal import reseal

_START, _CRC = 5, 4  # magic and version; checksums
HOSTILE: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 255, 2**16, 2**20, 2**31 - 1, 2**31, 2**62, 2**64 - 1, -(2**63), 0.5, -1e308, 1e-300),
    *(float("nan"), float("inf"), None, True, False, "", "resnet20", "weight", "\x1b[2J", "\x00", "é" * 300),
    *(b"", b"\xff" * 9, b"\x80" * 4, [], [[]] * 9, [0] * 20, {}, {"a": {"a": {"a": []}}}, [1 << 30] * 3),
    "x" * 70_000,
)


def flip(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(data: bytes, rng: random.Random) -> bytes:
    at, n = rng.randrange(len(data)), rng.choice([1, 2, 5])
    return data[:at] + rng.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * n + data[at + n :]


def insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]


def delete(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 20) :]


def move(data: bytes, rng: random.Random) -> bytes:
    a, b, n = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 40)
    return data[:a] + data[b : b + n] + data[a + n :]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def edit_header(data: bytes, rng: random.Random) -> bytes:
    """A value of the header, or of the tensor table in it, becomes another; lists lose or double entries."""
    packed, rest = _header(data)
    header = msgpack.unpackb(packed)
    if "l" in header and rng.random() < 0.6:
        table = _edited(msgpack.unpackb(zlib.decompress(header["l"])), rng)
        header["l"] = zlib.compress(msgpack.packb(table))
    else:
        header = _edited(header, rng)
    packed = msgpack.packb(header)
    return data[:_START] + _varint(len(packed)) + packed + rest


def edit_record(data: bytes, rng: random.Random) -> bytes:
    """The coding of a record, or one of the numbers its body begins with, becomes another."""
    start, length = rng.choice(_frames(data))[1:]
    at = start + min(rng.choice([0, 0, 0, 1, 2, 3, 4, 5]), max(length - 1, 0))
    byte = rng.choice([rng.randrange(12), 0x80 | rng.randrange(12), rng.randrange(256)])
    return data[:at] + bytes([byte]) + data[at + 1 :]


def edit_length(data: bytes, rng: random.Random) -> bytes:
    """The length of the header or of a record becomes another."""
    at, start, length = rng.choice(_frames(data))
    if rng.random() < 0.2:
        at, start, length = _START, len(data) - len(_header(data)[1]) - len(_header(data)[0]), 1
    size = rng.choice([0, 1, length - 1, length + 1, 2 * length, 2**20, 2**32, 2**62, 2**63 - 1])
    return data[:at] + _varint(max(size, 0)) + data[start:]


def swap_records(data: bytes, rng: random.Random) -> bytes:
    """Two records, whole, change places: what is in them is right, but for another tensor."""
    frames = _frames(data)
    a, b = sorted(rng.choice(frames) for _ in range(2))
    first, second = (data[at : start + length + _CRC] for at, start, length in (a, b))
    behind = a[1] + a[2] + _CRC
    if a == b:
        return data + first
    return data[: a[0]] + second + data[behind : b[0]] + first + data[b[1] + b[2] + _CRC :]


Mutation = Callable[[bytes, random.Random], bytes]
BLIND: dict[str, Mutation] = {f.__name__: f for f in (flip, overwrite, insert, delete, move, cut)}
BY_FIELD: dict[str, Mutation] = {f.__name__: f for f in (edit_header, edit_record, edit_length, swap_records)}
KINDS = BLIND | BY_FIELD


def mutant(original: bytes, kind: str, sealed: bool, rng: random.Random) -> bytes:
    """A damaged copy, other than the original; `sealed`: with checksums that are right again."""
    while True:
        data = KINDS[kind](original, rng)
        data = reseal(data) if sealed and len(data) > _START + _CRC else data
        if data != original:
            return data


def _edited(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        copy = value.copy()
        key = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
        if isinstance(copy, list) and rng.random() < 0.3:
            other = rng.randrange(len(copy))
            rng.choice(
                [lambda: copy.pop(key), lambda: copy.append(copy[key]), lambda: copy.insert(other, 0)]
            )()
            return copy
        copy[key] = _edited(copy[key], rng)
        return copy
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.choice([-1, 1, value, 1 << 40]) if abs(value) < 1 << 60 else 0
    if isinstance(value, bytes) and value and rng.random() < 0.7:
        return flip(value, rng)
    return rng.choice(HOSTILE)


def _header(data: bytes) -> tuple[bytes, bytes]:
    """The packed header, and all that follows it."""
    length, at = _read_varint(data, _START)
    return data[at : at + length], data[at + length :]


def _frames(data: bytes) -> list[tuple[int, int, int]]:
    """(where its length stands, where its body starts, its length) of every record."""
    at, frames = len(data) - len(_header(data)[1]), []
    while at < len(data) - _CRC:
        length, start = _read_varint(data, at)
        frames.append((at, start, length))
        at = start + length + _CRC
    return frames


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
