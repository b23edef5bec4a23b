"""Integers times a scale for each row: what quantizers per channel, or per group of weights, give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from pithnet.artifact import floats
from pithnet.artifact.codebook import read_integer
from pithnet.artifact.coders import read_symbols
from pithnet.artifact.row_scales import row_multiples
from pithnet.artifact.values import Block, Coding, Plan, Sites
from pithnet.artifact.wire import Cursor, signed
from pithnet.coding.bitpack import pack_bits, put_varint, unpack_bits
from pithnet.errors import ArtifactError

_GROUPS = (0, 128, 64, 32, 256, 16)  # sizes looked for; 0: a whole entry of the first axis
_MAX_FACTOR = 1 << 10
_MAX_ENTRIES = 1 << 12  # looked at together: of short ones, many more pass before one that is on no grid
_REACH = 1 << 15
_ROW_WORK = 8  # in the units of `Budget`
_LARGEST = 0x7F7FFFFF  # the bit pattern of the largest float32


@dataclass(frozen=True)
class _Rows:
    """The rows that store any value.

    Attributes:
        counts: How many values each of them stores, in order.
    """

    counts: np.ndarray

    @classmethod
    def at(cls, sites: Sites, group: int) -> _Rows:
        """Returns the rows of `group` values, or 0 for all, of each entry of the first axis."""
        counts = np.count_nonzero(_in_rows(sites.mask, group), axis=1)
        return cls(counts[counts > 0])

    @property
    def starts(self) -> np.ndarray:
        """The index of the stored value with which each row begins."""
        return np.cumsum(self.counts) - self.counts

    def by_value(self, *of_rows: np.ndarray) -> Iterator[list[np.ndarray]]:
        """Yields numbers of rows as numbers of their stored values, a block of rows at a time."""
        cuts = np.flatnonzero(np.diff(self.starts // floats.BLOCK, prepend=-1, append=-1))
        for low, high in pairwise(cuts):
            yield [np.repeat(values[low:high], self.counts[low:high]) for values in of_rows]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Repeats one value per row for each of its stored values."""
        return np.repeat(values, self.counts)


@dataclass(frozen=True)
class _Grid:
    """A way to write values as float32(factor * q + remainders[row]) * scales[row], for integers q (n,)."""

    factor: int
    remainders: np.ndarray
    scales: np.ndarray
    q: np.ndarray

    @cached_property
    def side(self) -> bytes:
        """Returns the bytes of everything but the integers, which are counted from their lowest."""
        head = put_varint(self.factor) + signed(int(self.q.min()))
        return head + _pack_remainders(self.remainders) + _pack_scales(self.scales)


class RowGrid(Coding):
    """Integers times a float32 scale per row: an entry of the first axis, or a group of its values.

    A common factor and a remainder per row stand for levels of which none is zero, such as (k + 1/4) * step.
    """

    name = "row-grid"

    def in_rows(self, sites: Sites) -> tuple[Sites, np.ndarray | None]:
        """Returns the sites with the rows' values one after the other, and which value of `sites` each is.

        The second is None where they are in that order already.
        """
        return sites, None

    def plan(self, block: Block) -> Plan | None:
        if block.sites.mask.ndim < 2 or block.values.size < 2:
            return None
        sites, order = self.in_rows(block.sites)
        plan = self._plan(block if order is None else Block(block.values[order], sites))
        if plan is None or order is None or plan.symbols is None:
            return plan
        return replace(plan, symbols=_put_back(plan.symbols, order))

    def _plan(self, block: Block) -> Plan | None:
        """Does what `plan` does, for values row by row."""
        for group in _groups(block.sites.mask.shape):
            found = _multiples(block, group)
            if found is not None:
                grids = _grids(*found, _Rows.at(block.sites, group))
                grid = min(grids, key=lambda g: _entropy(g.q) + 8 * len(g.side))
                low = int(grid.q.min())
                if int(grid.q.max()) - low > floats.GRID_SPAN:
                    return None
                return Plan.of(put_varint(group) + grid.side, (grid.q - low).astype(np.uint16))
        return None

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        if sites.mask.ndim < 2 or not sites.mask.size:
            raise ArtifactError("has a scale per row, but its numbers stand in no rows")
        turned, order = self.in_rows(sites)
        group, factor = cursor.varint("codebook"), cursor.varint("codebook")
        length = turned.mask[0].size
        if group and group >= length:
            raise ArtifactError(f"declares groups of {group} values in rows of {length}")
        if not 1 <= factor <= _MAX_FACTOR:
            raise ArtifactError(f"declares a factor of {factor}; it is from 1 to {_MAX_FACTOR}")
        low = cursor.signed("codebook")
        if abs(low) > _REACH:
            raise ArtifactError(f"declares a grid that starts at {low}; at most {_REACH} can be")
        cursor.spend(_ROW_WORK * len(turned.mask) * -(-length // (group or length)))
        rows = _Rows.at(turned, group)
        remainders, scales = (read(cursor, len(rows.counts)) for read in (_read_remainders, _read_scales))
        symbols, coder = read_symbols(cursor, sites.mask)
        in_rows = symbols if order is None else symbols[order]
        values = _numbers(in_rows, low, factor, rows.by_value(remainders, scales))
        return values if order is None else _put_back(values, order), f"{self.name}/{coder}"


def _numbers(symbols: np.ndarray, low: int, factor: int, of_rows: Iterator[list[np.ndarray]]) -> np.ndarray:
    """Returns float32(factor * (low + symbol) + remainder) * scale for symbols (n,).

    Args:
        symbols: Row by row.
        low: What symbol 0 stands for.
        factor: What they are multiplied by.
        of_rows: Remainders and scales, one for each symbol, a block of symbols at a time.
    """
    values, at = np.empty(symbols.size, np.float32), 0
    for remainders, scales in of_rows:
        here = slice(at, at + remainders.size)
        whole = (symbols[here].astype(np.int32) + low) * factor + remainders
        values[here] = floats.grid_levels(whole, scales)
        at += remainders.size
    return values


def _groups(shape: tuple[int, ...]) -> Iterator[int]:
    """Yields the sizes to look for; of experts, (experts, outputs, inputs), each output of each, too."""
    yield from _GROUPS
    if len(shape) == 3 and shape[-1] >= min(filter(None, _GROUPS)) and shape[-1] not in _GROUPS:
        yield shape[-1]


def _put_back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns values that were taken in this order in the order that they came from."""
    found = np.empty_like(values)
    found[order] = values
    return found


def _in_rows(values: np.ndarray, group: int) -> np.ndarray:
    """Returns (R, M) rows of a tensor: its entries, or their groups, the last one filled up with zeros."""
    entries = values.reshape(len(values), -1)
    if not group:
        return entries
    return np.pad(entries, ((0, 0), (0, -entries.shape[1] % group))).reshape(-1, group)


def _multiples(block: Block, group: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns int32 multiples (n,) and the scales of the rows that store values, or None without any."""
    mask = block.sites.mask.reshape(len(block.sites.mask), -1)
    if group >= mask.shape[1]:
        return None
    ends = np.cumsum(np.count_nonzero(mask, axis=1))
    # What is on no such grid shows it in its first entries, mostly: one, then as many as make a block.
    step = max(1, min(floats.BLOCK // mask.shape[1], _MAX_ENTRIES))
    cuts = sorted({0, 1, *range(1 + step, len(mask), step), len(mask)})
    k, scales = [], []
    for low, high in pairwise(cuts):
        begin, end = int(ends[low - 1]) if low else 0, int(ends[high - 1]) if high else 0
        found = _of_entries(mask[low:high], block.values[begin:end], group)
        if found is None:
            return None
        k.append(found[0])
        scales.append(found[1])
    return np.concatenate(k), np.concatenate(scales)


def _of_entries(mask: np.ndarray, values: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Does what `_multiples` does, for some entries (E, M) and the values that they store."""
    whole = np.zeros(mask.shape, np.float32)
    whole[mask] = values
    kept = _in_rows(mask, group)
    stored = kept.any(1)
    found = row_multiples(_in_rows(whole, group)[stored])
    if found is None:
        return None
    k = found[0][kept[stored]].astype(np.int32)
    given = floats.grid_levels(k, np.repeat(found[1], np.count_nonzero(kept[stored], axis=1)))
    return (k, found[1]) if floats.same(given, values) else None  # -0.0 is no multiple


def _grids(k: np.ndarray, scales: np.ndarray, rows: _Rows) -> Iterator[_Grid]:
    """Yields ways to write multiples as a factor and remainders, counted from zero or each row's lowest."""
    low = np.minimum.reduceat(k, rows.starts)
    spacing = np.gcd.reduceat(k - rows.spread(low), rows.starts)
    for factor in {_common(spacing), max(1, int(spacing.max()))}:
        # A row with another spacing (it uses few of its levels, say) has a scale halved: that is exact.
        finer = factor // np.gcd(spacing, factor)
        if bool((finer & (finer - 1)).any()) or factor > _MAX_FACTOR:
            factor, finer = int(np.gcd.reduce(spacing)) or 1, np.ones_like(finer)
        fine_k, fine_low = k * rows.spread(finer), low * finer
        fine_scales = (scales / finer).astype(np.float32)
        for remainders in (fine_low % factor, (fine_low + factor // 2) % factor - factor // 2, fine_low):
            yield _Grid(factor, remainders, fine_scales, (fine_k - rows.spread(remainders)) // factor)


def _common(spacing: np.ndarray) -> int:
    """Returns the spacing that most rows have; 1 where none has any."""
    values, counts = np.unique(spacing[spacing > 0], return_counts=True)
    return int(values[counts.argmax()]) if values.size else 1


def _entropy(q: np.ndarray) -> float:
    counts = np.unique(q, return_counts=True)[1]
    return float(-(counts * np.log2(counts / q.size)).sum())


def _pack_remainders(remainders: np.ndarray) -> bytes:
    low = int(remainders.min())
    width = int(remainders.max() - low).bit_length()
    return bytes([width]) + signed(low) + pack_bits(remainders - low, width)


def _read_remainders(cursor: Cursor, count: int) -> np.ndarray:
    width, low = _read_width(cursor), read_integer(cursor)
    remainders = _read_fields(cursor, width, count) + low
    if count and int(abs(remainders).max()) > floats.GRID_REACH:
        raise ArtifactError(f"holds remainders beyond {floats.GRID_REACH}")
    return remainders.astype(np.int32)


def _pack_scales(scales: np.ndarray) -> bytes:
    """Writes bit patterns of scales as distances from the lowest, without the low bits that are zero in all.

    Positive floats are in the order of their bit patterns.
    """
    pattern = floats.bits(scales).astype(np.int64)
    low = int(pattern.min())
    distance = pattern - low
    shared = int(np.bitwise_or.reduce(distance))
    shift = (shared & -shared).bit_length() - 1 if shared else 0
    width = (shared >> shift).bit_length()
    return bytes([width, shift]) + put_varint(low) + pack_bits(distance >> shift, width)


def _read_scales(cursor: Cursor, count: int) -> np.ndarray:
    width, shift, low = _read_width(cursor), cursor.byte("codebook"), cursor.varint("codebook")
    if shift > 31 or low > _LARGEST:
        raise ArtifactError(
            f"declares scales from the bit pattern {low}, shifted by {shift}; it is no float32"
        )
    pattern = (_read_fields(cursor, width, count) << shift) + low
    if count and int(pattern.max()) > _LARGEST:
        raise ArtifactError("holds a scale that is no finite float32")
    return pattern.astype(np.uint32).view(np.float32)


def _read_width(cursor: Cursor) -> int:
    width = cursor.byte("codebook")
    if width > 32:
        raise ArtifactError(f"declares fields of {width} bits; they have 32 at most")
    return width


def _read_fields(cursor: Cursor, width: int, count: int) -> np.ndarray:
    return unpack_bits(cursor.take((count * width + 7) // 8, "codebook"), width, count)
