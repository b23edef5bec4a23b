"""A sorted list of float32 levels in as few bytes as it takes: float32, float16, or steps on a fixed grid."""

from __future__ import annotations

import numpy as np

from pithnet.artifact import floats
from pithnet.artifact.wire import Cursor, signed
from pithnet.coding.bitpack import pack_bits, unpack_bits
from pithnet.errors import ArtifactError

_FLOAT32, _FLOAT16 = 0, 32  # other kinds, 1 to 17: fixed grid, steps of (kind - 1) bits
_MAX_STEP_BITS = 16
_MAX_SHIFT = 300


def pack_codebook(levels: np.ndarray) -> bytes:
    """Writes levels (K,), float32 and ascending, in the shortest way that gives them back bit for bit."""
    ways = [bytes([_FLOAT32]) + levels.astype("<f4").tobytes()]
    half = floats.as_half(levels)
    if half is not None:
        ways.append(bytes([_FLOAT16]) + half.astype("<f2").tobytes())
    s = floats.shift(levels)
    q = None if s is None else floats.on_fixed_grid(levels, s)
    if s is not None and q is not None:
        ways.append(_pack_steps(q, s))
    return min(ways, key=len)


def _pack_steps(q: np.ndarray, s: int) -> bytes:
    # Levels are distinct, so steps are at least 1: one less is stored.
    steps = np.diff(q) - 1
    width = int(steps.max()).bit_length() if steps.size else 0
    return bytes([1 + width]) + signed(s) + signed(int(q[0])) + pack_bits(steps, width)


def read_codebook(cursor: Cursor, size: int) -> np.ndarray:
    """Reads what `pack_codebook` wrote.

    Args:
        cursor: Stands where the codebook begins.
        size: Number of levels.

    Returns:
        (size,) float32.

    Raises:
        ArtifactError: The kind of codebook is unknown, its levels descend, or the bytes end too early.
    """
    cursor.spend(size)
    kind = cursor.byte("codebook")
    if kind == _FLOAT32:
        return _ascending(np.frombuffer(cursor.take(4 * size, "codebook"), "<f4").astype(np.float32))
    if kind == _FLOAT16:
        return _ascending(np.frombuffer(cursor.take(2 * size, "codebook"), "<f2").astype(np.float32))
    width = kind - 1
    if width > _MAX_STEP_BITS:
        raise ArtifactError(f"holds a codebook of a kind this version does not know ({kind}); update pithnet")
    s, first = read_shift(cursor), read_integer(cursor)
    packed = cursor.take(((size - 1) * width + 7) // 8, "codebook")
    steps = unpack_bits(packed, width, size - 1) + 1
    return floats.fixed_levels(np.concatenate([[first], first + np.cumsum(steps)]), s)


def _ascending(levels: np.ndarray) -> np.ndarray:
    """Returns the levels.

    Raises:
        ArtifactError: They descend somewhere; NaNs stand at the ends, by their sign.
    """
    keys = floats.keys(levels)
    if bool((keys[1:] < keys[:-1]).any()):
        raise ArtifactError("holds a codebook whose levels descend")
    return levels


def read_shift(cursor: Cursor) -> int:
    """Reads an s of 2**-s.

    Raises:
        ArtifactError: The shift is beyond float32's reach.
    """
    s = cursor.signed("codebook")
    if abs(s) > _MAX_SHIFT:
        raise ArtifactError(f"declares a shift of {s} bits; float32 reaches {_MAX_SHIFT} at most")
    return s


def read_integer(cursor: Cursor) -> int:
    """Reads the integer that a grid starts at.

    Raises:
        ArtifactError: The integer is too large for a grid.
    """
    low = cursor.signed("codebook")
    if abs(low) > floats.GRID_REACH:
        raise ArtifactError(f"declares a grid that starts at {low}; at most {floats.GRID_REACH} can be")
    return low
