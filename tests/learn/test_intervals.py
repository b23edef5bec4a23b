"""Intervals, against formulas of others and against what they promise."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from pithnet.learn import mean_interval, paired_difference, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (9153, 10_000), (1, 1)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    theirs = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


# Bonett and Price (2012): p12 = (gained + 1) / (n + 2), p21 = (lost + 1) / (n + 2), in 30 decimal digits.
@pytest.mark.parametrize(
    ("both", "gained", "lost", "neither", "expected"),
    [
        (80, 5, 9, 6, (-0.04, -0.1156993203524, 0.0372679478034)),
        (100, 0, 0, 0, (0.0, -0.0271745850055, 0.0271745850055)),
        (20, 0, 0, 0, (0.0, -0.1259912577529, 0.1259912577529)),
        (0, 10, 0, 0, (1.0, 0.5205795560289, 1.0)),  # no difference of shares is above 1
    ],
)
def test_the_paired_interval_is_bonetts_and_prices(
    both: int, gained: int, lost: int, neither: int, expected: tuple[float, float, float]
) -> None:
    a = torch.tensor([1] * both + [0] * gained + [1] * lost + [0] * neither, dtype=torch.bool)
    b = torch.tensor([1] * both + [1] * gained + [0] * lost + [0] * neither, dtype=torch.bool)
    assert paired_difference(a, b) == pytest.approx(expected, abs=1e-12)
    assert paired_difference(b, a) == pytest.approx((-expected[0], -expected[2], -expected[1]), abs=1e-12)


def test_the_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    g = torch.Generator().manual_seed(0)
    # 92 % both right, 2 % gained, 4 % lost: a true difference of -2 points.
    draws = torch.multinomial(torch.tensor([0.92, 0.02, 0.04, 0.02]), 400 * 2000, True, generator=g)
    covered = 0
    for kind in draws.view(400, 2000):
        _, low, high = paired_difference((kind == 0) | (kind == 2), (kind == 0) | (kind == 1))
        covered += low <= -0.02 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_other_numbers_get_the_normal_interval() -> None:
    g = torch.Generator().manual_seed(1)
    a = torch.randn(300, generator=g, dtype=torch.float64)
    b = a + 0.1 + 0.05 * torch.randn(300, generator=g, dtype=torch.float64)
    for got, values in [(mean_interval(a), a), (paired_difference(a, b)[1:], b - a)]:
        expected = stats.norm.interval(0.95, float(values.mean()), float(stats.sem(values.numpy())))
        assert got == pytest.approx(expected, abs=1e-6)
    assert paired_difference(a, b)[0] == pytest.approx(float((b - a).mean()))
    low, high = mean_interval(b - a)
    assert high - low < 0.2 * (mean_interval(a)[1] - mean_interval(a)[0]), "pairs know more than two means"


def test_a_share_against_other_numbers_is_paired_as_numbers() -> None:
    a, b = torch.tensor([True, False, True, True]), torch.tensor([1.0, 0.5, 1.0, 0.0], dtype=torch.float64)
    assert paired_difference(a, b)[0] == pytest.approx(-0.125)
