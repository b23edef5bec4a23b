from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from pithnet.errors import RecipeError
from pithnet.tensor import ecsq_1d, kmeans_1d
from pithnet.tensor.clustering.entropy_constrained import Clusters, best_levels
from pithnet.tensor.clustering.kmeans import sorted_line


def objective_of_parts(parts: list[np.ndarray], rate_weight: float) -> float:
    total = sum(len(part) for part in parts)
    distortion = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    return distortion + rate_weight * sum(len(part) * math.log2(total / len(part)) for part in parts)


@pytest.mark.parametrize("rate_weight", [0.003, 0.05, 0.3, 2.0])
def test_the_best_of_all_partitions_of_nine_values(rate_weight: float) -> None:
    values = np.sort(np.random.default_rng(3).normal(size=9))
    best = min(
        objective_of_parts(np.split(values, cuts), rate_weight)
        for levels in range(1, 5)
        for cuts in itertools.combinations(range(1, 9), levels - 1)
    )
    found = ecsq_1d(torch.from_numpy(values), 4, rate_weight)
    assert found.inertia + rate_weight * found.entropy() * 9 == pytest.approx(best, rel=1e-9)


def test_levels_lie_as_far_apart_as_the_best_uniform_quantizer() -> None:
    values = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, size=20_000))
    rate_weight = 0.1**2 * math.log(2) / 6
    found = ecsq_1d(values, 64, rate_weight)
    assert float(found.centroids.diff().mean()) == pytest.approx(0.1, rel=0.05)


def test_a_large_rate_leaves_one_level_at_the_mean() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    found = ecsq_1d(values, 3, 1e6)
    assert found.centroids.tolist() == [3.0]
    assert found.entropy() == 0.0


@pytest.mark.parametrize("init", ["linear", "optimal"])
def test_it_trades_bits_for_error(init: str) -> None:
    values = torch.from_numpy(np.random.default_rng(1).laplace(size=50_000).astype(np.float32))
    free, coded = kmeans_1d(values, 16, init), ecsq_1d(values, 16, 0.02, init)
    assert coded.entropy() < free.entropy() - 0.1
    for start in (free, coded):
        assert len(torch.bincount(start.assignment)) == len(start.centroids)
    assert coded.inertia + 0.02 * coded.entropy() * 50_000 < free.inertia + 0.02 * free.entropy() * 50_000


def test_a_cheap_zero_takes_the_small_values() -> None:
    values = torch.tensor([-2.0, -0.4, 0.1, 0.3, 0.5, 2.0, 2.2])
    costly = ecsq_1d(values, 4, 0.01, zero_code_length=8.0)
    cheap = ecsq_1d(values, 4, 0.2, zero_code_length=-2.0)
    assert 0.0 in cheap.centroids.tolist()
    assert (cheap.values() == 0).tolist() == [False, True, True, True, True, False, False]
    assert int((costly.values() == 0).sum()) < 4
    # What is left at 2.0 and 2.2 shares a level; its bits are counted among the three non-zeros.
    assert cheap.centroids.tolist() == pytest.approx([-2.0, 0.0, 2.1])


def test_code_lengths_are_shares_of_what_is_not_pinned_to_zero() -> None:
    line = sorted_line(torch.tensor([-3.0, -0.1, 0.2, 0.3, 4.0, 4.0, 6.0]))
    levels = best_levels(line, Clusters(np.array([0, 1, 4, 6, 7]), pinned=1), zero_bits=0.5)
    assert levels.bits.tolist() == pytest.approx([2.0, 0.5, 1.0, 2.0])
    assert levels.centroids.tolist() == pytest.approx([-3.0, 0.0, 4.0, 6.0])
    free = best_levels(line, Clusters(np.array([0, 7])))
    assert free.bits.tolist() == [0.0]


def test_an_unused_zero_level_disappears() -> None:
    found = ecsq_1d(torch.tensor([5.0, 5.1, 9.0]), 2, 0.01, zero_code_length=3.0)
    assert found.centroids.tolist() == pytest.approx([5.05, 9.0])


def test_everything_can_go_to_zero() -> None:
    found = ecsq_1d(torch.tensor([0.1, -0.2, 0.15]), 2, 10.0, zero_code_length=-5.0)
    assert found.centroids.tolist() == [0.0]
    assert found.values().tolist() == [0.0, 0.0, 0.0]
    assert found.inertia == pytest.approx(0.1**2 + 0.2**2 + 0.15**2)


def test_zero_outside_the_values_pinned_to_it_keeps_the_levels_sorted() -> None:
    values = torch.linspace(1.0, 4.0, 40)
    for bits in (-30.0, -8.0, -3.0, 0.0):
        for iterations in (1, 2, 3, 100):
            found = ecsq_1d(values, 4, 0.2, "linear", zero_code_length=bits, max_iter=iterations)
            assert bool((found.centroids.diff() > 0).all())
            assert found.inertia == pytest.approx(float((values - found.values()).double().square().sum()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate_weight": -1.0}, "rate_weight is -1.0: use a finite number >= 0"),
        ({"rate_weight": math.nan}, "rate_weight is nan"),
        ({"rate_weight": 0.1, "zero_code_length": math.inf}, "zero_code_length is inf: use a finite number"),
        ({"rate_weight": 0.1, "init": "optimum"}, r"Did you mean optimal\?"),
        ({"rate_weight": 0.1, "max_iter": 0}, "max_iter is 0"),
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        ecsq_1d(torch.rand(5), 2, **arguments)  # type: ignore[arg-type]


def test_no_levels_are_refused() -> None:
    with pytest.raises(RecipeError, match="k is 0"):
        ecsq_1d(torch.rand(5), 0, 0.1)
