"""One record: the values of one tensor, or of a few that are coded together, as bytes and back."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pithnet.artifact import floats
from pithnet.artifact.coders import pack_positions, pack_symbols, read_positions
from pithnet.artifact.codings import CODINGS
from pithnet.artifact.layout import Record
from pithnet.artifact.values import Block, Plan, Sites
from pithnet.artifact.wire import Cursor
from pithnet.coding.huffman import histogram
from pithnet.coding.work import Spend, unlimited
from pithnet.errors import ArtifactError

_RAW, _DEFLATE, _SPARSE = 0, 1, 0x80
_FEW_ZEROS = 64  # below one zero in so many, positions cannot pay for themselves
_MARGIN, _SLACK = 1.03, 32  # predictions this close to the best are tried for real
_LARGE, _LARGE_MARGIN = 1 << 16, 1.15  # contexts of many values save far more than predictions know of
_RECORD_WORK = 7000  # in the units of `Budget`
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Decoded:
    """The values of a record.

    Attributes:
        values: (record.size,) of the record's dtype.
        coding: The coding's name.
        spent: Bytes by part.
    """

    values: Tensor
    coding: str
    spent: Counter[str]

    def split(self, record: Record) -> list[Tensor]:
        """Returns the tensors of the record's entries, in their shapes."""
        parts = torch.split(self.values, [e.size for e in record.entries])
        return [part.view(e.shape) for part, e in zip(parts, record.entries, strict=True)]


class _Choice(NamedTuple):
    """An exact coding: packed positions or none, its number, its plan, and the mask its symbols stand in."""

    positions: bytes
    number: int
    plan: Plan
    mask: np.ndarray


def encode_record(tensors: Sequence[Tensor], record: Record, slowest: int = 2) -> bytes:
    """Returns the body of a record that gives CPU tensors back bit for bit, by the smallest coding.

    Args:
        tensors: The values of the record's entries.
        record: Which entries they are.
        slowest: The most `slowness` of a coder that many values may go to.
    """
    slowest = slowest if record.size >= _LARGE else 2
    flats = [t.reshape(-1) for t in tensors]
    flat = flats[0] if len(flats) == 1 else torch.cat(flats)
    values = _as_float32(flat)
    if values is None:
        return _encode_bytes(flat)
    raw = _Choice(b"", _RAW, Plan(flat.nbytes, lambda: _to_bytes(flat)), np.ones(0, bool))
    choices = chain([raw], _choices(values.reshape(record.shape), [e.size for e in record.entries], slowest))
    return min((_written(choice, slowest) for choice in _closest(choices, values.size)), key=len)


def _closest(choices: Iterable[_Choice], count: int) -> list[_Choice]:
    """Returns the choices whose predicted size is close to the best; others are forgotten as they are met."""
    best, close = math.inf, list[tuple[float, _Choice]]()
    margin = _LARGE_MARGIN if count >= _LARGE else _MARGIN
    for choice in choices:
        size = _predicted(choice)
        best = min(best, size)
        close = [(n, c) for n, c in [*close, (size, choice)] if n <= best * margin + _SLACK]
    return [choice for _, choice in close]


def _choices(values: np.ndarray, sizes: Sequence[int], slowest: int) -> Iterator[_Choice]:
    mask = floats.bits(values) != 0
    zeros = mask.size - int(np.count_nonzero(mask))
    if zeros and zeros * _FEW_ZEROS >= mask.size and zeros < mask.size:
        yield from _plans(pack_positions(mask, slowest), Block(values[mask], Sites.of(mask, sizes)))
    del mask
    yield from _plans(b"", Block(values.reshape(-1), Sites.everywhere(values.shape, sizes)))


def _plans(positions: bytes, block: Block) -> Iterator[_Choice]:
    for number, coding in CODINGS.items():
        plan = coding.plan(block)
        if plan is not None:
            yield _Choice(positions, number, plan, block.sites.mask)


def _predicted(choice: _Choice) -> float:
    symbols = choice.plan.symbols
    return len(choice.positions) + choice.plan.size + (0 if symbols is None else _entropy_bytes(symbols))


def _entropy_bytes(symbols: np.ndarray) -> float:
    """Returns the order-0 entropy plus a guess at the model's cost, or plain packing where that is less."""
    counts = histogram(symbols)
    width = (counts.size - 1).bit_length()
    counts = counts[counts > 0]
    entropy = float(-(counts * np.log2(counts / symbols.size)).sum()) / 8
    return min(entropy + 0.5 * counts.size, symbols.size * width / 8) + 2


def _written(choice: _Choice, slowest: int) -> bytes:
    plan = choice.plan
    symbols = b"" if plan.symbols is None else pack_symbols(plan.symbols, choice.mask, slowest)
    first = choice.number | (_SPARSE if choice.positions else 0)
    return b"".join([bytes([first]), choice.positions, plan.side(), symbols])


def decode_record(body: bytes | memoryview, record: Record, spend: Spend = unlimited) -> Decoded:
    """Reads what `encode_record` wrote.

    Args:
        body: The record's bytes.
        record: Which entries it holds.
        spend: Gets the work that is about to be done, in units of about ten nanoseconds, and may refuse it.

    Raises:
        ArtifactError: The body is not of the form that docs/format.md gives it.
        CodingError: A stream inside it is damaged.
    """
    spend(_RECORD_WORK + record.size // 2)
    cursor = Cursor(body, spend)
    number = cursor.byte()
    dtype = record.entries[0].dtype
    if number in (_RAW, _DEFLATE):
        values, name = _read_bytes(cursor, number, record.size, dtype)
    elif not dtype.is_floating_point:
        raise ArtifactError(f"has coding {number}, which is for floating-point numbers, but holds {dtype}")
    else:
        spend(record.size if dtype != torch.float32 else 0)
        numbers, name = _read_floats(cursor, number, record)
        values = torch.from_numpy(numbers).to(dtype)
    cursor.finish()
    return Decoded(values, name, cursor.spent)


def _read_floats(cursor: Cursor, number: int, record: Record) -> tuple[np.ndarray, str]:
    coding = CODINGS.get(number & ~_SPARSE)
    if coding is None:
        raise ArtifactError(f"has a coding this version does not know (number {number}); update pithnet")
    sizes = [e.size for e in record.entries]
    if not number & _SPARSE:
        return coding.read(cursor, Sites.everywhere(record.shape, sizes))
    cursor.spend(record.size // 4)
    mask, method = read_positions(cursor, record.shape)
    kept, name = coding.read(cursor, Sites.of(mask, sizes))
    numbers = np.zeros(mask.size, np.float32)
    numbers[mask.reshape(-1)] = kept
    return numbers, f"{method}+{name}"


def _as_float32(flat: Tensor) -> np.ndarray | None:
    """Returns the values as float32 where that loses nothing, not even a NaN's payload; else None."""
    if not flat.is_floating_point():
        return None
    narrow = flat.to(torch.float32)
    if flat.dtype != torch.float32 and not torch.equal(words(narrow.to(flat.dtype)), words(flat)):
        return None
    return narrow.numpy()


def words(flat: Tensor) -> Tensor:
    """Returns the bit patterns of a flat tensor as integers of the same width."""
    return flat.contiguous().view(_WORDS[flat.element_size()])


def _to_bytes(flat: Tensor) -> bytes:
    pattern = words(flat).numpy()
    return pattern.astype(pattern.dtype.newbyteorder("<"), copy=False).tobytes()


def _encode_bytes(flat: Tensor) -> bytes:
    raw = _to_bytes(flat)
    deflated = zlib.compress(raw, 9)
    return bytes([_RAW]) + raw if len(raw) <= len(deflated) else bytes([_DEFLATE]) + deflated


def _read_bytes(cursor: Cursor, number: int, size: int, dtype: torch.dtype) -> tuple[Tensor, str]:
    width = dtype.itemsize
    count = size * width
    cursor.spend(count // 2)
    if number == _RAW:
        name, raw = "raw", cursor.take(count, "symbols")
    else:
        name, raw = "deflate", _inflate(cursor.rest("symbols"), count)
    if dtype == torch.bool:
        pattern = np.frombuffer(raw, np.uint8)
        if bool((pattern > 1).any()):
            raise ArtifactError("holds a bool that is neither 0 nor 1")
        return torch.from_numpy(pattern != 0), name
    pattern = np.frombuffer(raw, f"<i{width}" if width > 1 else "u1")
    return torch.from_numpy(pattern.astype(pattern.dtype.newbyteorder("="))).view(dtype), name


def _inflate(data: bytes, count: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, count + 1)
    except zlib.error as e:
        raise ArtifactError(f"does not inflate ({e})") from None
    if len(raw) != count or not inflater.eof or inflater.unused_data:
        raise ArtifactError(f"does not inflate to the {count} bytes its shape needs")
    return raw
