"""Codings by levels: integers on a grid, fixed or scaled, and indices into a codebook."""

from __future__ import annotations

import numpy as np

from pithnet.artifact import floats
from pithnet.artifact.codebook import pack_codebook, read_codebook, read_integer, read_shift
from pithnet.artifact.coders import read_symbols
from pithnet.artifact.values import MAX_LEVELS, Block, Coding, Plan, Sites
from pithnet.artifact.wire import Cursor, signed
from pithnet.coding.bitpack import put_varint
from pithnet.errors import ArtifactError


class Fixed(Coding):
    """Integers times 2**-s, one s for all."""

    name = "fixed"

    def plan(self, block: Block) -> Plan | None:
        s = floats.shift(block.values) if block.values.size else None
        q = None if s is None else floats.on_fixed_grid(block.values, s)
        if q is None or s is None:
            return None
        return Plan(signed(s) + signed(int(q.min())), q - q.min())

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        s, low = read_shift(cursor), read_integer(cursor)
        symbols, coder = read_symbols(cursor, sites.mask)
        return floats.fixed_levels(_range(low, symbols), s)[symbols], f"{self.name}/{coder}"


class FixedEach(Coding):
    """Integers times 2**-s, with an s for each tensor of the record that has values."""

    name = "fixed-each"

    def plan(self, block: Block) -> Plan | None:
        parts = [p for p in np.split(block.values, np.cumsum(block.sites.counts)[:-1]) if p.size]
        shifts = [floats.shift(p) for p in parts]
        if len(parts) < 2 or None in shifts or len(set(shifts)) == 1:
            return None
        grids = [floats.on_fixed_grid(p, s) for p, s in zip(parts, shifts, strict=True) if s is not None]
        whole = [q for q in grids if q is not None]
        if len(whole) < len(parts):
            return None
        q = np.concatenate(whole)
        if int(q.max() - q.min()) > floats.GRID_SPAN:
            return None
        return Plan(b"".join(signed(s or 0) for s in shifts) + signed(int(q.min())), q - q.min())

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        shifts = [read_shift(cursor) if n else 0 for n in sites.counts]
        low = read_integer(cursor)
        symbols, coder = read_symbols(cursor, sites.mask)
        parts = np.split(symbols, np.cumsum(sites.counts)[:-1])
        q = _range(low, symbols)
        values = [floats.fixed_levels(q, s)[p] for p, s in zip(parts, shifts, strict=True)]
        return np.concatenate(values), f"{self.name}/{coder}"


class Grid(Coding):
    """Integers times one float32 scale: what a uniform quantizer gives."""

    name = "grid"

    def plan(self, block: Block) -> Plan | None:
        scale = floats.grid_scale(block.levels[0]) if block.few_levels else None
        k = None if scale is None else floats.on_grid(block.levels[0], scale)
        if scale is None or k is None:
            return None
        return Plan(np.array(scale, "<f4").tobytes() + signed(int(k[0])), (k - k[0])[block.levels[1]])

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        scale = np.frombuffer(cursor.take(4, "codebook"), "<f4")[0]
        low = read_integer(cursor)
        symbols, coder = read_symbols(cursor, sites.mask)
        return floats.grid_levels(_range(low, symbols), scale)[symbols], f"{self.name}/{coder}"


class Palette(Coding):
    """A codebook of the distinct values, and the index of each value in it."""

    name = "palette"

    def plan(self, block: Block) -> Plan | None:
        if not block.few_levels:
            return None
        levels, index = block.levels
        return Plan(put_varint(levels.size - 1) + pack_codebook(levels), index)

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        size = cursor.varint("codebook") + 1
        if size > MAX_LEVELS:
            raise ArtifactError(f"declares a codebook of {size} levels; at most {MAX_LEVELS} can be")
        codebook = read_codebook(cursor, size)
        symbols, coder = read_symbols(cursor, sites.mask)
        if symbols.size and int(symbols.max()) >= size:
            raise ArtifactError(f"uses level {int(symbols.max())} of a codebook of {size}")
        return codebook[symbols], f"{self.name}/{coder}"


def _range(low: int, symbols: np.ndarray) -> np.ndarray:
    return np.arange(low, low + (int(symbols.max()) if symbols.size else 0) + 1)
