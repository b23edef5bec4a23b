"""Recomputes every checksum of a mutated .pith file, written from docs/format.md and not from the reader.

`python tests/hostile/reseal.py IN OUT` reseals a file.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

_START = 5  # magic and version
_CRC = 4


def reseal(data: bytes) -> bytes:
    """`data` with the checksums its lengths ask for; past one that leads out of the file, only the last."""
    out = bytearray(data)
    body_end = len(out) - _CRC
    length, at = _varint(out, _START)
    at += length
    while at < body_end:
        length, start = _varint(out, at)
        end = start + length
        if end + _CRC > body_end:
            break
        out[end : end + _CRC] = _crc(out[start:end])
        at = end + _CRC
    if body_end >= 0:
        out[body_end:] = _crc(out[:body_end])
    return bytes(out)


def _varint(data: bytearray, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            break
    return value, at


def _crc(data: bytes | bytearray) -> bytes:
    return zlib.crc32(data).to_bytes(_CRC, "little")


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(reseal(Path(sys.argv[1]).read_bytes()))
