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
    """Integers times 2**-s, with one s for all."""

    name = "fixed"

    def plan(self, block: Block) -> Plan | None:
        # A grid has as many places as there can be levels: what has more levels lies on none.
        if not block.values.size or block.levels is None:
            return None
        s = floats.shift(block.levels[0])
        q = None if s is None else floats.on_fixed_grid(block.levels[0], s)
        if q is None or s is None:
            return None
        return Plan.of(signed(s) + signed(int(q[0])), _symbols(q - q[0], block.levels[1]))

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        s, low = read_shift(cursor), read_integer(cursor)
        symbols, coder = read_symbols(cursor, sites.mask)
        levels = floats.fixed_levels(_range(low, symbols), s)
        return floats.look_up(levels, symbols), f"{self.name}/{coder}"


class FixedEach(Coding):
    """Integers times 2**-s, with an s for each tensor of the record that has values."""

    name = "fixed-each"

    def plan(self, block: Block) -> Plan | None:
        parts = [p for p in np.split(block.values, np.cumsum(block.sites.counts)[:-1]) if p.size]
        found = [floats.levels(p, MAX_LEVELS) for p in parts] if len(parts) > 1 else []
        levels = [part for part in found if part is not None]
        shifts = [s for s in (floats.shift(distinct) for distinct, _ in levels) if s is not None]
        if len(shifts) < len(parts) or len(set(shifts)) < 2:
            return None
        grids = [floats.on_fixed_grid(distinct, s) for (distinct, _), s in zip(levels, shifts, strict=True)]
        whole = [q for q in grids if q is not None]
        if len(whole) < len(parts):
            return None
        low, high = min(int(q[0]) for q in whole), max(int(q[-1]) for q in whole)
        if high - low > floats.GRID_SPAN:
            return None
        symbols = [_symbols(q - low, index) for q, (_, index) in zip(whole, levels, strict=True)]
        return Plan.of(b"".join(map(signed, shifts)) + signed(low), np.concatenate(symbols))

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        shifts = [read_shift(cursor) if n else 0 for n in sites.counts]
        low = read_integer(cursor)
        symbols, coder = read_symbols(cursor, sites.mask)
        parts = np.split(symbols, np.cumsum(sites.counts)[:-1])
        q = _range(low, symbols)
        values = [floats.look_up(floats.fixed_levels(q, s), p) for p, s in zip(parts, shifts, strict=True)]
        return np.concatenate(values), f"{self.name}/{coder}"


class Grid(Coding):
    """Integers times one float32 scale: what a uniform quantizer gives."""

    name = "grid"

    def plan(self, block: Block) -> Plan | None:
        if block.few_levels is None:
            return None
        levels, index = block.few_levels
        scale = floats.grid_scale(levels)
        k = None if scale is None else floats.on_grid(levels, scale)
        if scale is None or k is None:
            return None
        return Plan.of(np.array(scale, "<f4").tobytes() + signed(int(k[0])), _symbols(k - k[0], index))

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        scale = np.frombuffer(cursor.take(4, "codebook"), "<f4")[0]
        low = read_integer(cursor)
        symbols, coder = read_symbols(cursor, sites.mask)
        levels = floats.grid_levels(_range(low, symbols), scale)
        return floats.look_up(levels, symbols), f"{self.name}/{coder}"


class Palette(Coding):
    """A codebook of the distinct values, and the index of each value in it."""

    name = "palette"

    def plan(self, block: Block) -> Plan | None:
        if block.few_levels is None:
            return None
        levels, index = block.few_levels
        return Plan.of(put_varint(levels.size - 1) + pack_codebook(levels), index)

    def read(self, cursor: Cursor, sites: Sites) -> tuple[np.ndarray, str]:
        size = cursor.varint("codebook") + 1
        if size > MAX_LEVELS:
            raise ArtifactError(f"declares a codebook of {size} levels; at most {MAX_LEVELS} can be")
        codebook = read_codebook(cursor, size)
        symbols, coder = read_symbols(cursor, sites.mask)
        if symbols.size and int(symbols.max()) >= size:
            raise ArtifactError(f"uses level {int(symbols.max())} of a codebook of {size}")
        return floats.look_up(codebook, symbols), f"{self.name}/{coder}"


def _symbols(places: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Returns the places (0 to GRID_SPAN) of values that are given by their indices."""
    return floats.look_up(places.astype(np.uint16), index)


def _range(low: int, symbols: np.ndarray) -> np.ndarray:
    return np.arange(low, low + (int(symbols.max()) if symbols.size else 0) + 1)
