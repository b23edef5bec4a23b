"""Exactness of the float32 analysis, against plain Python arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pithnet.artifact import floats

ANY = hnp.arrays(np.uint32, st.integers(1, 40)).map(lambda a: a.view(np.float32))
FINITE = hnp.arrays(
    np.float32, st.integers(1, 20), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)


@settings(max_examples=40, deadline=None)
@given(ANY)
def test_levels_give_the_values_back_bit_for_bit(values: np.ndarray) -> None:
    distinct, index = floats.levels(values)
    assert floats.same(distinct[index], values)
    assert len({int(b) for b in floats.bits(values)}) == distinct.size


def test_levels_ascend_with_minus_zero_first() -> None:
    values = np.array([3, -0.0, 0.0, -np.inf, np.inf, -2, 1e-45], np.float32)
    distinct, _ = floats.levels(values)
    assert distinct.tolist() == [-np.inf, -2, 0, 0, float(np.float32(1e-45)), 3, np.inf]
    assert np.signbit(distinct[2])
    assert not np.signbit(distinct[3])


@settings(max_examples=40, deadline=None)
@given(FINITE)
def test_shift_is_the_smallest_that_makes_integers(values: np.ndarray) -> None:
    s = floats.shift(values)
    if s is None:
        assert (np.signbit(values) & (values == 0)).any()
        return
    exact = [Fraction(float(v)) for v in values]
    assert all((v * Fraction(2) ** s).denominator == 1 for v in exact)
    if any(exact):
        assert any((v * Fraction(2) ** (s - 1)).denominator != 1 for v in exact)


@pytest.mark.parametrize("bad", [-0.0, np.nan, np.inf, -np.inf])
def test_shift_refuses_what_no_integer_gives(bad: float) -> None:
    assert floats.shift(np.array([1, bad], np.float32)) is None


def test_fixed_grid_refuses_more_than_16_bits() -> None:
    assert floats.on_fixed_grid(np.array([0, 65535], np.float32), 0) is not None
    assert floats.on_fixed_grid(np.array([0, 65536], np.float32), 0) is None
    assert floats.on_fixed_grid(np.array([2.0**27, 2.0**27 + 16], np.float32), 0) is None


@settings(max_examples=40, deadline=None)
@given(st.floats(2**-20, 8, width=32), st.integers(2, 40))
def test_a_uniform_quantizer_is_recognised(scale: float, bound: int) -> None:
    k = np.arange(-bound, bound + 1).astype(np.float32)
    found = floats.grid_scale(k * np.float32(scale))
    assert found is not None
    q = floats.on_grid(k * np.float32(scale), found)
    assert q is not None
    assert floats.same(floats.grid_levels(q, found), k * np.float32(scale))


def test_no_scale_for_levels_off_any_grid() -> None:
    levels = np.sort(np.random.default_rng(0).normal(size=16)).astype(np.float32)
    assert floats.grid_scale(levels) is None
