"""Rows of numbers that are whole multiples of a scale, one for each row: found from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pithnet.artifact import floats

LIMIT = 2048  # the largest multiple looked for: 1,920 are those of 8-bit additive powers of two
_SAMPLE = 16  # of a row's largest numbers, which decide what is worth trying
_TOGETHER = 1 << 15  # quotients looked at together, of one multiple at least: 256 kB stay in the L2 cache
_CLOSE = 2.0**-21  # for two roundings to float32: of a product, and of the number the scale is taken from


def row_multiples(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(k, scales) with rows = float32(k) * scales[:, None] bit for bit, or None where there are none.

    rows: float32 (R, M). k: int16 (R, M), as small as can be, LIMIT at most; scales: float32 (R,), 1 for a
    row of zeros.
    """
    if not bool(np.isfinite(rows).all()):
        return None
    k, scales = np.zeros(rows.shape, np.int16), np.ones(len(rows), np.float32)
    top = np.abs(rows).max(1, initial=0)
    left = np.flatnonzero(top)
    largest = _largest(rows[left], top[left])
    low = 1
    while left.size and low <= LIMIT:  # from the smallest multiples on
        several = np.arange(low, min(low + max(1, _TOGETHER // largest.size), LIMIT + 1))
        fits = _fits(largest, several)
        done = np.zeros(left.size, bool)
        for i in np.flatnonzero(fits.any(1)):
            tried = np.flatnonzero(fits[i] & ~done)
            done[tried] = _divide(rows, left[tried], top, int(several[i]), k, scales)
        left, largest = left[~done], largest[~done]
        low += len(several)
    return None if left.size else (k, scales)


def _largest(rows: np.ndarray, top: np.ndarray) -> np.ndarray:
    """float64 (R, at most _SAMPLE): each row's largest numbers over the largest one."""
    count = min(_SAMPLE, rows.shape[1])
    largest = -np.partition(-np.abs(rows), count - 1, axis=1)[:, :count].astype(np.float64)
    return largest / top[:, None]


def _fits(largest: np.ndarray, n: np.ndarray) -> np.ndarray:
    """bool (N, R): whether a row's largest numbers may be multiples of the largest one over n (N,)."""
    scaled = n[:, None, None] * largest
    whole = np.rint(scaled)
    return (np.abs(scaled - whole) <= _CLOSE * whole).all(2)


def _divide(
    rows: np.ndarray, tried: np.ndarray, top: np.ndarray, n: int, k: np.ndarray, scales: np.ndarray
) -> np.ndarray:
    """bool (T,): which of the rows tried (T,) are whole multiples of top / n; fills those of k and scales."""
    done = np.zeros(tried.size, bool)
    for scale in _near(top[tried].astype(np.float64) / n):
        whole = np.rint(rows[tried] / scale[:, None].astype(np.float64))
        exact = _product(whole, scale).view(np.uint32) == floats.bits(rows[tried])
        good = exact.all(1) & ~done
        k[tried[good]], scales[tried[good]] = whole[good], scale[good]
        done |= good
    return done


def _near(scale: np.ndarray) -> Iterator[np.ndarray]:
    """The float32 numbers next to these: a multiple that was rounded does not divide back exactly."""
    middle = np.maximum(scale.astype(np.float32), np.finfo(np.float32).tiny)
    yield from (middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf)))


def _product(whole: np.ndarray, scale: np.ndarray) -> np.ndarray:
    # + 0.0: rounding makes -0.0 of small negative numbers, which is another bit pattern than theirs.
    return (whole.astype(np.float32) + np.float32(0)) * scale[:, None]
