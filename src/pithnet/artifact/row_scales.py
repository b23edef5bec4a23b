"""Rows of numbers that are whole multiples of a scale, one for each row: found from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pithnet.artifact import floats

LIMIT = 2048  # the largest multiple looked for: 1,920 are those of 8-bit additive powers of two
_SAMPLE = 16  # of a row's largest numbers, which decide what is worth trying
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
    fits = _candidates(rows[left], top[left])
    while left.size:
        if not bool(fits.any(0).all()):
            return None
        n = fits.argmax(0) + 1  # the first that is worth trying: the smallest multiples
        done = np.zeros(left.size, bool)
        for scale in _near(top[left] / n):
            whole = np.rint(rows[left] / scale[:, None].astype(np.float64))
            exact = _product(whole, scale).view(np.uint32) == floats.bits(rows[left])
            good = exact.all(1) & ~done
            k[left[good]], scales[left[good]] = whole[good], scale[good]
            done |= good
        fits[n - 1, np.arange(left.size)] = False
        left, fits = left[~done], fits[:, ~done]
    return k, scales


def _candidates(rows: np.ndarray, top: np.ndarray) -> np.ndarray:
    """bool (LIMIT, R): whether a row's largest numbers may be multiples of the largest one over n."""
    count = min(_SAMPLE, rows.shape[1])
    largest = -np.partition(-np.abs(rows), count - 1, axis=1)[:, :count].astype(np.float64)
    largest /= top[:, None]
    fits = np.empty((LIMIT, len(rows)), bool)
    for n in range(1, LIMIT + 1):
        scaled = largest * n
        whole = np.rint(scaled)
        fits[n - 1] = (np.abs(scaled - whole) <= _CLOSE * whole).all(1)
    return fits


def _near(scale: np.ndarray) -> Iterator[np.ndarray]:
    """The float32 numbers next to these: a multiple that was rounded does not divide back exactly."""
    middle = np.maximum(scale.astype(np.float32), np.finfo(np.float32).tiny)
    yield from (middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf)))


def _product(whole: np.ndarray, scale: np.ndarray) -> np.ndarray:
    # + 0.0: rounding makes -0.0 of small negative numbers, which is another bit pattern than theirs.
    return (whole.astype(np.float32) + np.float32(0)) * scale[:, None]
