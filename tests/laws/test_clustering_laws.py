"""Clustering: centroids are their members' means, no step makes it worse, nothing beats the optimum."""

from __future__ import annotations

import math

import kmeans1d
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pithnet.errors import ModelError
from pithnet.tensor import Clustering, ecsq_1d, kmeans_1d
from pithnet.tensor.clustering._inits import INITS
from pithnet.tensor.clustering.entropy_constrained import Clusters, best_levels, cheapest_clusters
from pithnet.tensor.clustering.kmeans import sorted_line

inits = sorted(INITS)
tied = st.sampled_from([-3.0, -1.0, 0.0, 0.25, 1.0, 7.0, 100.0])
wide = st.floats(-1e6, 1e6, width=32)
narrow = st.floats(0.9990234375, 1.0, width=32)
levels = st.integers(1, 12)
seeds = st.integers(0, 2**16)


@st.composite
def samples(draw: st.DrawFn) -> Tensor:
    element = draw(st.sampled_from([tied, wide, narrow]))
    numbers = draw(st.lists(element, min_size=1, max_size=60))
    return torch.tensor(numbers, dtype=draw(st.sampled_from([torch.float32, torch.float64])))


def spread(values: Tensor) -> float:
    """Total squared deviation: rounding errors are a fraction of it."""
    return float((values.double() - values.double().mean()).square().sum())


def optimum(values: Tensor, k: int) -> float:
    numbers = values.double().numpy()
    exact = kmeans1d.cluster(numbers, k)
    means = [numbers[np.array(exact.clusters) == j].mean() for j in exact.clusters]
    return float(((numbers - np.array(means)) ** 2).sum())


def objective(found: Clustering, values: Tensor, rate_weight: float) -> float:
    return found.inertia + rate_weight * found.entropy() * values.numel()


@pytest.mark.parametrize("init", inits)
@settings(deadline=None)
@given(values=samples(), k=levels, seed=seeds)
def test_centroids_are_the_means_of_their_members(init: str, values: Tensor, k: int, seed: int) -> None:
    found = kmeans_1d(values, k, init, torch.Generator().manual_seed(seed))
    assert len(found.centroids) == min(k, len(values.unique()))
    assert found.centroids.dtype == values.dtype
    assert found.assignment.shape == values.shape
    for j, centroid in enumerate(found.centroids):
        members = values[found.assignment == j].double()
        assert len(members) > 0
        assert float(centroid) == pytest.approx(float(members.mean()), rel=1e-6, abs=1e-9)
    assert bool((found.centroids.diff() > 0).all())
    residual = float((values.double() - found.values().double()).square().sum())
    assert found.inertia == pytest.approx(residual, rel=1e-5, abs=1e-6 * spread(values) + 1e-12)


@pytest.mark.parametrize("init", inits)
@settings(deadline=None)
@given(values=samples(), k=levels, seed=seeds)
def test_same_seed_same_clustering(init: str, values: Tensor, k: int, seed: int) -> None:
    first, second = (kmeans_1d(values, k, init, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(first.assignment, second.assignment)
    assert torch.equal(first.centroids, second.centroids)


@pytest.mark.parametrize("init", inits)
@settings(deadline=None)
@given(values=samples(), k=levels, seed=seeds)
def test_inertia_never_rises_nor_beats_the_optimum(init: str, values: Tensor, k: int, seed: int) -> None:
    last = math.inf
    for max_iter in range(1, 8):
        found = kmeans_1d(values, k, init, torch.Generator().manual_seed(seed), max_iter)
        assert found.inertia <= last + 1e-9 * spread(values)
        last = found.inertia
    assert last >= optimum(values, min(k, len(values.unique()))) - 1e-9 * spread(values)


@settings(deadline=None)
@given(values=samples(), k=levels)
def test_optimal_init_is_the_optimum_of_small_samples(values: Tensor, k: int) -> None:
    found = kmeans_1d(values, k, "optimal")
    exact = optimum(values, min(k, len(values.unique())))
    assert found.inertia <= exact + 1e-9 * spread(values)


@pytest.mark.parametrize("init", inits)
@settings(deadline=None)
@given(values=samples(), k=levels, seed=seeds)
def test_ecsq_without_a_rate_is_kmeans(init: str, values: Tensor, k: int, seed: int) -> None:
    free = ecsq_1d(values, k, 0.0, init, generator=torch.Generator().manual_seed(seed))
    plain = kmeans_1d(values, k, init, torch.Generator().manual_seed(seed))
    assert torch.equal(free.assignment, plain.assignment)
    assert torch.equal(free.centroids, plain.centroids)


@settings(deadline=None)
@given(
    values=samples(),
    k=levels,
    rate=st.floats(0.0, 1.0),
    zero_bits=st.none() | st.floats(-4.0, 8.0),
    data=st.data(),
)
def test_no_ecsq_step_raises_the_objective(
    values: Tensor, k: int, rate: float, zero_bits: float | None, data: st.DataObject
) -> None:
    """From any clusters, the update and then the assignment each lower distortion + rate, or keep it."""
    line = sorted_line(values)
    changes = line.changes()
    inner = data.draw(st.lists(st.sampled_from(changes.tolist()), max_size=k))
    cuts = np.unique([0, *inner, len(line)])
    pinned = data.draw(st.integers(0, len(cuts) - 2)) if zero_bits is not None else None
    clusters, rate_weight = Clusters(cuts, pinned), rate * spread(values) / len(values)

    def cost(clusters: Clusters, levels: np.ndarray, bits: np.ndarray) -> float:
        counts = np.diff(clusters.cuts)
        distances = line.inertia(clusters.cuts, levels)
        return distances + rate_weight * float(counts @ bits)

    last = math.inf
    for _ in range(6):
        best = best_levels(line, clusters, zero_bits or 0.0)
        now = cost(clusters, best.centroids, best.bits)
        assert now <= last + 1e-9 * (spread(values) + float(values.double().square().sum()) + abs(now))
        last = now
        clusters = cheapest_clusters(line, best, rate_weight)
        assert bool((np.diff(clusters.cuts) > 0).all())


@settings(deadline=None)
@given(values=samples(), k=st.integers(2, 6), rate=st.floats(0.001, 1.0))
def test_ecsq_beats_plain_kmeans_at_its_own_objective(values: Tensor, k: int, rate: float) -> None:
    rate_weight = rate * spread(values) / len(values)
    tolerance = 1e-9 * (spread(values) + 1.0)
    found = objective(ecsq_1d(values, k, rate_weight), values, rate_weight)
    for init in inits:
        plain = kmeans_1d(values, k, init, torch.Generator().manual_seed(0))
        assert found <= objective(plain, values, rate_weight) + tolerance


@pytest.mark.parametrize("init", inits)
def test_entropy_falls_as_the_rate_counts_for_more(init: str) -> None:
    values = laplace(4000)
    found = [
        ecsq_1d(values, 16, rate, init, generator=torch.Generator().manual_seed(1))
        for rate in (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    ]
    entropies = [one.entropy() for one in found]
    assert entropies == sorted(entropies, reverse=True)
    assert entropies[0] > 3.0
    assert entropies[-1] < 0.5
    if init == "optimal":  # the others start in local minima of the distortion, which a small rate can leave
        inertias = [one.inertia for one in found]
        assert inertias == sorted(inertias)


def laplace(n: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(7).laplace(size=n).astype(np.float32))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("cluster", [lambda v: kmeans_1d(v, 2), lambda v: ecsq_1d(v, 2, 0.1)])
def test_nan_and_inf_are_refused(cluster, bad: float) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelError, match="1 of 3 numbers are NaN or inf"):
        cluster(torch.tensor([1.0, bad, 2.0]))
