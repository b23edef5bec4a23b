"""Rows of numbers that are whole multiples of a scale, one for each row: found from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pithnet.artifact import floats

LIMIT = 2048  # the largest multiple looked for: 1,920 are those of 8-bit additive powers of two
_SAMPLE = 16  # of a row's largest magnitudes, which decide what is worth trying
_TOGETHER = 1 << 15  # quotients looked at together, of one multiple at least: 256 kB stay in the L2 cache
_CLOSE = 2.0**-21  # for two roundings to float32: of a product, and of the number the scale is taken from


def row_multiples(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Finds integers and scales with rows = float32(k) * scales[:, None] bit for bit.

    Args:
        rows: (R, M) float32.

    Returns:
        None where there are none; else k, int16 (R, M), as small as can be and LIMIT at most, and the scales,
        float32 (R,), 1 for a row of zeros.
    """
    if not bool(np.isfinite(rows).all()) or bool((floats.bits(rows) == floats.SIGN).any()):
        return None  # -0.0 is no multiple
    # Signs and repetitions change nothing: rows of a shared codebook are mostly one and the same set.
    sets, which = _distinct_sets(np.abs(rows))
    found = _scales_of(sets)
    if found is None:
        return None
    scales = found[which]
    k = np.rint(rows / scales[:, None].astype(np.float64)).astype(np.int16)
    return k, scales


def _distinct_sets(magnitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sets of magnitudes that rows (R, M) have, and (R,) which set a row has.

    The sets are (S, D), descending, filled up with zeros.
    """
    ordered = -np.sort(-magnitudes, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = 0
    ordered = -np.sort(-ordered, axis=1)
    most = int(np.count_nonzero(ordered, axis=1).max(initial=1))
    sets = np.ascontiguousarray(ordered[:, :most])
    whole = sets.view(np.dtype((np.void, sets.itemsize * most))).reshape(-1)
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    return sets[first], which


def _scales_of(sets: np.ndarray) -> np.ndarray | None:
    """Returns float32 (S,), the scale of each set (S, D) for the smallest multiples, or None.

    It is None where a set has no scale.
    """
    scales = np.ones(len(sets), np.float32)
    left = np.flatnonzero(sets[:, 0])
    largest = sets[left, :_SAMPLE].astype(np.float64) / sets[left, :1]
    low = 1
    while left.size and low <= LIMIT:  # from the smallest multiples on
        several = np.arange(low, min(low + max(1, _TOGETHER // largest.size), LIMIT + 1))
        fits = _fits(largest, several)
        done = np.zeros(left.size, bool)
        while (worth := np.flatnonzero(fits.any(1))).size:
            i = worth[0]
            tried = np.flatnonzero(fits[i])
            done[tried] = _divide(sets, left[tried], int(several[i]), scales)
            fits[i], fits[:, done] = False, False
        left, largest = left[~done], largest[~done]
        low += len(several)
    return None if left.size else scales


def _fits(largest: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Tells whether a set's largest numbers may be multiples of the largest one over n (N,): bool (N, S)."""
    scaled = n[:, None, None] * largest
    whole = np.rint(scaled)
    return (np.abs(scaled - whole) <= _CLOSE * whole).all(2)


def _divide(sets: np.ndarray, tried: np.ndarray, n: int, scales: np.ndarray) -> np.ndarray:
    """Tells which sets tried (T,) are whole multiples of their largest over n: bool (T,). Fills `scales`."""
    done = np.zeros(tried.size, bool)
    for scale in _near(sets[tried, 0].astype(np.float64) / n):
        whole = np.rint(sets[tried] / scale[:, None].astype(np.float64))
        exact = floats.bits(whole.astype(np.float32) * scale[:, None]) == floats.bits(sets[tried])
        good = exact.all(1) & ~done
        scales[tried[good]] = scale[good]
        done |= good
    return done


def _near(scale: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the float32 numbers next to these: a multiple that was rounded does not divide back exactly."""
    middle = np.maximum(scale.astype(np.float32), np.finfo(np.float32).tiny)
    yield from (middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf)))
