"""Codings that need no levels: float16, one number for all, and floats with their exponents entropy-coded."""

from __future__ import annotations

import numpy as np

from pithnet.artifact import floats
from pithnet.artifact.coders import read_symbols
from pithnet.artifact.values import Block, Coding, Plan, Sites
from pithnet.artifact.wire import Cursor
from pithnet.coding.bitpack import pack_bits, unpack_bits
from pithnet.errors import ArtifactError

_MANTISSA = 23
_FIELD = (1 << _MANTISSA) - 1
_CHUNK = 1 << 16  # fields are packed so many at a time: unpacked bits take 8 bytes each


class Raw16(Coding):
    """Values as float16, little-endian."""

    name = "raw16"

    def plan(self, block: Block) -> Plan | None:
        half = floats.as_half(block.values)
        return None if half is None else Plan(half.nbytes, lambda: half.astype("<f2", copy=False).tobytes())

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        return np.frombuffer(cursor.view(2 * sites.count, "symbols"), "<f2").astype(np.float32), self.name


class Constant(Coding):
    """One float32 for all, as the statistics of folded BatchNorm layers are; zero low bytes are left out."""

    name = "constant"

    def plan(self, block: Block) -> Plan | None:
        if block.levels is None or block.levels[0].size != 1:
            return None
        return Plan.of(block.levels[0].astype("<f4").tobytes().lstrip(b"\0"))

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        if cursor.left > 4:
            raise ArtifactError(f"holds {cursor.left} bytes for one float32")
        value = np.frombuffer(cursor.rest("codebook").rjust(4, b"\0"), "<f4")
        return np.full(sites.count, value[0], np.float32), self.name


class Floating(Coding):
    """The upper bits of the mantissas as they are, and the signs and exponents entropy-coded.

    Exponents of trained weights take few values, mantissas take all of theirs alike; numbers rounded to a
    shorter format (float16, bfloat16, 8-bit floats) pay for their own mantissa's bits only.
    """

    name = "float"

    def plan(self, block: Block) -> Plan | None:
        if block.values.size == 0:
            return None
        pattern = floats.bits(block.values)
        width = max(_MANTISSA - _trailing_zeros(int(np.bitwise_or.reduce(pattern)) & _FIELD), 0)
        top = np.empty(pattern.size, np.uint16)
        np.right_shift(pattern, np.uint32(_MANTISSA), out=top, casting="unsafe")
        return Plan(1 + (pattern.size * width + 7) // 8, lambda: _pack_mantissas(pattern, width), top)

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        width, size = cursor.byte("codebook"), sites.count
        if width > _MANTISSA:
            raise ArtifactError(f"declares mantissas of {width} bits; float32 has {_MANTISSA}")
        pattern = _read_mantissas(cursor.view((size * width + 7) // 8, "symbols"), width, size)
        top, coder = read_symbols(cursor, sites.mask)
        if size and int(top.max()) >> (32 - _MANTISSA):
            raise ArtifactError(f"holds a sign and exponent of {int(top.max())}; they have 9 bits")
        for at in range(0, size, _CHUNK):
            pattern[at : at + _CHUNK] |= top[at : at + _CHUNK].astype(np.uint32) << np.uint32(_MANTISSA)
        return pattern.view(np.float32), f"{self.name}{width}/{coder}"


def _trailing_zeros(pattern: int) -> int:
    return (pattern & -pattern).bit_length() - 1 if pattern else _MANTISSA


def _pack_mantissas(pattern: np.ndarray, width: int) -> bytearray:
    """Writes the byte `width`, then the upper `width` bits of every mantissa."""
    packed = bytearray([width])
    for at in range(0, pattern.size, _CHUNK):
        mantissa = pattern[at : at + _CHUNK] & np.uint32(_FIELD)
        packed += pack_bits(mantissa >> np.uint32(_MANTISSA - width), width)
    return packed


def _read_mantissas(data: memoryview, width: int, size: int) -> np.ndarray:
    """Reads the mantissas (uint32, 23 bits) that `_pack_mantissas` packed, without the byte before them."""
    fields, stride = np.empty(size, np.uint32), _CHUNK * width // 8
    for i, at in enumerate(range(0, size, _CHUNK)):
        chunk = unpack_bits(data[i * stride : (i + 1) * stride], width, min(_CHUNK, size - at))
        fields[at : at + _CHUNK] = chunk << _MANTISSA - width
    return fields
