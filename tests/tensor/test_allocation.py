from __future__ import annotations

import math

import pytest

from pithnet.tensor import erk, uniform

RESNET20 = [
    (16, 3, 3, 3),
    *[(16, 16, 3, 3)] * 6,
    (32, 16, 3, 3),
    *[(32, 32, 3, 3)] * 5,
    (64, 32, 3, 3),
    *[(64, 64, 3, 3)] * 5,
    (10, 64),
]


def test_uniform_gives_the_leftover_to_the_largest_remainders() -> None:
    # 50 % of 9 is 4 by Python's rounding: 3 * 4/9 = 1.33, 1.33, 1.33; the first layer gets the odd one.
    assert uniform([3, 3, 3], 0.5) == [2, 1, 1]
    assert uniform([10, 100], 0.7) == [7, 70]
    assert uniform([], 0.5) == []
    assert uniform([0, 4], 0.5) == [0, 2]


def test_erk_by_hand() -> None:
    # 40 weights kept of 200; sums of dimensions 20 and 20: 20 kept in each of 100.
    assert erk([(10, 10), (10, 10)], 0.8) == [80, 80]
    # 60 kept of 404. Unclamped (4, 1) would keep 60 * 5/45 > 4, so it stays dense and the other keeps 56.
    assert erk([(4, 1), (20, 20)], 1 - 60 / 404) == [0, 344]


def test_erk_on_resnet20_at_90_percent() -> None:
    sizes = [math.prod(shape) for shape in RESNET20]
    zeros = erk(RESNET20, 0.9)
    assert sum(zeros) == round(0.9 * sum(sizes))
    densities = [1 - z / size for z, size in zip(zeros, sizes, strict=True)]
    assert densities[0] == pytest.approx(min(1.0, densities[1] * (25 / 432) / (38 / 2304)), abs=0.01)
    # The ratio of two sparse layers' densities is that of sum(shape) / prod(shape).
    assert densities[10] / densities[16] == pytest.approx((70 / 9216) / (134 / 36864), rel=0.01)
    assert densities[16] < 0.1 < densities[10]


@pytest.mark.parametrize("sparsity", [0.0, 1.0])
def test_extremes(sparsity: float) -> None:
    sizes = [math.prod(shape) for shape in RESNET20]
    expected = [round(sparsity * size) for size in sizes]
    assert erk(RESNET20, sparsity) == expected
    assert uniform(sizes, sparsity) == expected
