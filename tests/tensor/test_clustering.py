from __future__ import annotations

import itertools
import math

import kmeans1d
import numpy as np
import pytest
import torch

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import kmeans_1d
from pithnet.tensor.clustering._inits import INITS
from pithnet.tensor.clustering.kmeans import clustering_from_cuts, sorted_line


def weight_like(n: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    scale = rng.choice([0.02, 0.06, 0.2], size=n, p=[0.70, 0.28, 0.02])
    return torch.from_numpy((rng.standard_normal(n) * scale).astype(np.float32))


def test_two_clusters_by_hand() -> None:
    found = kmeans_1d(torch.tensor([[10.0, 0.0], [1.0, 12.0]]), 2)
    assert found.centroids.tolist() == [0.5, 11.0]
    assert found.assignment.tolist() == [[1, 0], [0, 1]]
    assert found.inertia == pytest.approx(2.5)
    assert found.values().tolist() == [[11.0, 0.5], [0.5, 11.0]]
    assert found.entropy() == pytest.approx(1.0)


def test_fewer_distinct_values_than_clusters_are_kept_as_they_are() -> None:
    values = torch.tensor([3.0, -1.0, 3.0])
    found = kmeans_1d(values, 16)
    assert found.centroids.tolist() == [-1.0, 3.0]
    assert torch.equal(found.values(), values)
    assert found.inertia == 0.0
    assert kmeans_1d(torch.tensor(5.0), 4).assignment.shape == ()


@pytest.mark.parametrize("init", ["linear", "random", "density", "kmeans++"])
def test_an_empty_cluster_is_refilled(init: str) -> None:
    # One far outlier: linear starts with three empty clusters, the others draw the crowded zeros twice.
    values = torch.tensor([0.0] * 50 + [0.1, 0.2, 0.3, 1000.0])
    found = kmeans_1d(values, 5, init, torch.Generator().manual_seed(0))
    assert len(found.centroids) == 5
    assert found.inertia == pytest.approx(0.0, abs=1e-12)


def test_an_empty_cluster_is_kept_as_lloyd_has_it() -> None:
    # The four cells of a linear start are 1000 / 3 apart: all but the first and the last are empty.
    values = torch.tensor([0.0] * 50 + [0.1, 0.2, 0.3, 1000.0])
    found = kmeans_1d(values, 4, "linear", empty="keep")
    assert found.centroids.tolist() == pytest.approx([0.6 / 53, 1000.0])
    assert found.assignment.bincount().tolist() == [53, 1]


@pytest.mark.parametrize("seed", range(5))
def test_plain_lloyd_is_lloyd_written_down_once_more(seed: int) -> None:
    values, k = weight_like(500, seed), 32
    w = values.double().numpy()
    centroids = np.linspace(w.min(), w.max(), k)
    for _ in range(1000):
        nearest = np.abs(w[:, None] - centroids).argmin(1)
        moved = np.array([w[nearest == j].mean() if (nearest == j).any() else centroids[j] for j in range(k)])
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    used = np.unique(nearest)
    found = kmeans_1d(values, k, "linear", empty="keep")
    assert 2 < len(used) < k
    np.testing.assert_allclose(found.centroids.numpy(), centroids[used], rtol=1e-6)
    np.testing.assert_array_equal(found.assignment.numpy(), np.searchsorted(used, nearest))


def test_another_treatment_of_empty_clusters_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"unknown treatment of empty clusters 'kep'\. Did you mean keep\?"):
        kmeans_1d(torch.arange(4.0), 2, empty="kep")


@pytest.mark.parametrize("seed", range(20))
def test_kmeans_plus_plus_where_one_value_swallows_the_others_in_rounding(seed: int) -> None:
    values = torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e12, 2**-6, 2**-7, 2**-8])
    found = kmeans_1d(values, 11, "kmeans++", torch.Generator().manual_seed(seed))
    assert len(found.centroids) == 11
    assert found.inertia < 1.0


def test_kmeans_plus_plus_draws_by_squared_distance() -> None:
    points, draws = (0.0, 1.0, 10.0, 12.0), 1500
    chances: dict[tuple[float, ...], float] = {}
    for chosen in itertools.permutations(points, 3):
        chance = 1 / len(points)
        for step in (1, 2):
            distances = {p: min((p - c) ** 2 for c in chosen[:step]) for p in points}
            chance *= distances[chosen[step]] / sum(distances.values())
        key = tuple(sorted(chosen))
        chances[key] = chances.get(key, 0.0) + chance
    line, generator = sorted_line(torch.tensor(points)), torch.Generator().manual_seed(0)
    found = [tuple(INITS["kmeans++"](line, 3, generator).tolist()) for _ in range(draws)]
    for key, chance in chances.items():
        assert found.count(key) / draws == pytest.approx(chance, abs=4 * math.sqrt(0.25 / draws))


def test_a_zero_level_out_of_order_is_sorted_with_its_members() -> None:
    values = torch.tensor([2.0, 11.0, 1.0, 10.0])
    found = clustering_from_cuts(values, sorted_line(values), np.array([0, 2, 4]), 1, pinned=1)
    assert found.centroids.tolist() == [0.0, 1.5]
    assert found.assignment.tolist() == [1, 0, 1, 0]
    assert found.inertia == pytest.approx(0.5 + 10**2 + 11**2)


@pytest.mark.parametrize(("n", "k"), [(3_000, 16), (20_000, 32), (20_000, 8)])
def test_optimal_on_a_grid_is_within_five_in_ten_thousand(n: int, k: int) -> None:
    values = weight_like(n, seed=1)
    exact = kmeans1d.cluster(values.numpy(), k)
    residual = values.double().numpy() - np.array(exact.centroids)[exact.clusters]
    ratio = kmeans_1d(values, k).inertia / float(residual @ residual)
    assert 1.0 - 1e-6 <= ratio <= 1.0005


@pytest.mark.parametrize("k", [300, 600])
def test_many_clusters_come_near_the_optimum(k: int) -> None:
    values = weight_like(5_000, seed=2)
    exact = kmeans1d.cluster(values.numpy(), k)
    residual = values.double().numpy() - np.array(exact.centroids)[exact.clusters]
    found = kmeans_1d(values, k)
    assert len(found.centroids) == k
    assert 1.0 - 1e-6 <= found.inertia / float(residual @ residual) <= (1.02 if k <= 512 else 1.3)


def test_optimal_with_most_values_tied() -> None:
    values = torch.cat([torch.zeros(50_000), weight_like(2_000, seed=3)])
    exact = kmeans1d.cluster(values.numpy(), 16)
    residual = values.double().numpy() - np.array(exact.centroids)[exact.clusters]
    found = kmeans_1d(values, 16)
    assert found.inertia <= 1.0005 * float(residual @ residual)


def test_far_from_zero_nothing_cancels() -> None:
    values = torch.tensor([1e8, 1e8 + 1, 1e8 + 10, 1e8 + 11], dtype=torch.float64)
    found = kmeans_1d(values, 2)
    assert found.centroids.tolist() == [1e8 + 0.5, 1e8 + 10.5]
    assert found.inertia == pytest.approx(1.0)


def test_the_starts_differ_and_reach_their_own_fixed_points() -> None:
    values = weight_like(20_000, seed=4)
    found = {
        init: kmeans_1d(values, 16, init, torch.Generator().manual_seed(0))
        for init in ("linear", "random", "density", "kmeans++", "optimal")
    }
    best = found["optimal"].inertia
    assert all(best <= one.inertia * (1 + 1e-9) for one in found.values())
    assert len({one.inertia for one in found.values()}) == 5
    for one in found.values():
        middle = (one.centroids[1:] + one.centroids[:-1]).double() / 2
        nearest = torch.bucketize(values.double(), middle)
        assert (nearest != one.assignment).float().mean() < 1e-3


def test_gradients_stay_outside() -> None:
    found = kmeans_1d(torch.rand(10, requires_grad=True), 2)
    assert not found.centroids.requires_grad


@pytest.mark.parametrize(
    ("values", "k", "options", "error", "message"),
    [
        (torch.zeros(0), 2, {}, ModelError, "values is empty"),
        (torch.zeros(3), 0, {}, RecipeError, "k is 0: a clustering needs at least one cluster"),
        (torch.zeros(3), 2, {"max_iter": 0}, RecipeError, "max_iter is 0: allow at least one"),
        (torch.zeros(3), 2, {"init": "liner"}, RecipeError, r"'liner'. Did you mean linear\?"),
        (torch.zeros(3).half(), 2, {}, ModelError, r"torch.float16: cluster float32 or float64"),
        (torch.arange(3), 2, {}, ModelError, "must be floating point"),
        (torch.tensor([1e200], dtype=torch.float64), 2, {}, ModelError, "where squares overflow"),
        (torch.tensor([math.nan]), 2, {}, ModelError, "NaN or inf"),
    ],
)
def test_bad_input_is_refused(values, k, options, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        kmeans_1d(values, k, **options)
