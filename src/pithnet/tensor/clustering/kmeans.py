"""Weight sharing: 1-D k-means on a sorted line (Lloyd's iterations by prefix sums)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pithnet.errors import ModelError, RecipeError, require_known
from pithnet.tensor._checks import require_finite, require_nonempty
from pithnet.tensor.clustering._inits import INITS
from pithnet.tensor.clustering._sorted_line import Cuts, Floats, SortedLine

# Beyond this the squares of float64 values overflow.
LARGEST = 1e150


@dataclass(frozen=True, eq=False)
class Clustering:
    """Values replaced by the nearest (or, with a rate, the cheapest) of a few shared ones.

    Attributes:
        centroids: (K,) ascending, dtype and device of the values; every one has members.
        assignment: int64, shape and device of the values: index into `centroids`. Equal values share one.
        inertia: Sum of squared distances to the centroids, in float64, before these were rounded.
        iterations: Assignment + update steps done, the one that found nothing to change included.
    """

    centroids: Tensor
    assignment: Tensor
    inertia: float
    iterations: int

    def values(self) -> Tensor:
        """Returns the clustered values: `centroids[assignment]`."""
        return self.centroids[self.assignment]

    def entropy(self) -> float:
        """Returns the Shannon entropy of the assignment, in bits per value."""
        counts = torch.bincount(self.assignment.flatten(), minlength=len(self.centroids)).double()
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * shares.log2()).sum())


def kmeans_1d(
    values: Tensor,
    k: int,
    init: str = "optimal",
    generator: torch.Generator | None = None,
    max_iter: int = 1000,
    empty: str = "refill",
) -> Clustering:
    """Clusters values into k shared ones by Lloyd's algorithm.

    It runs until nothing changes or `max_iter`, on the CPU: one sort, then O(k log n) an iteration. Fewer
    than k distinct values give as many clusters.

    Args:
        values: Any shape, float32 or float64, any device.
        k: Number of clusters, >= 1.
        init: "linear", "random" (Forgy), "density" (equal mass), "kmeans++", or "optimal": dynamic
            programming, exact up to 512 distinct values and 256 clusters; for more values within 1.0005 of
            the optimal inertia in every measurement up to 32 clusters, and within a few per mille above
            (benchmarks/bench_kmeans.py).
        generator: For the starts that draw.
        max_iter: The most iterations, >= 1.
        empty: What becomes of a cluster that loses all its members: "refill" halves the cluster with the
            largest error in its place, so that k values are used; "keep" leaves its centroid where it is
            (plain Lloyd), where members may come back to it, and fewer than k values may be used in the end.

    Raises:
        ModelError: The values are empty, hold NaN or inf, are too large to square, or are of another dtype.
        RecipeError: k or max_iter is below 1, or init or empty is unknown.
    """
    require_settings(k, init, max_iter)
    require_known("treatment of empty clusters", empty, EMPTY, RecipeError)
    line = sorted_line(values)
    cuts, iterations = kmeans_cuts(line, k, init, generator, max_iter, empty)
    return clustering_from_cuts(values, line, cuts, iterations)


def _lloyd(line: SortedLine, centroids: Floats, max_iter: int) -> tuple[Cuts, int]:
    cuts = line.refill(line.cut_at(_midpoints(centroids)))
    for iteration in range(2, max_iter + 1):
        moved = line.refill(line.cut_at(_midpoints(line.means(cuts))))
        if np.array_equal(moved, cuts):
            return cuts, iteration
        cuts = moved
    return cuts, max_iter


def _plain_lloyd(line: SortedLine, centroids: Floats, max_iter: int) -> tuple[Cuts, int]:
    centroids, cuts = centroids.copy(), line.cut_at(_midpoints(centroids))
    for iteration in range(2, max_iter + 1):
        # Every centroid, moved or not, stays in its own cell: they remain in order.
        centroids[np.diff(cuts) > 0] = line.means(np.unique(cuts))
        moved = line.cut_at(_midpoints(centroids))
        if np.array_equal(moved, cuts):
            return np.unique(cuts), iteration
        cuts = moved
    return np.unique(cuts), max_iter


EMPTY = {"refill": _lloyd, "keep": _plain_lloyd}


def _midpoints(centroids: Floats) -> Floats:
    return centroids[:-1] + (centroids[1:] - centroids[:-1]) / 2


def sorted_line(values: Tensor) -> SortedLine:
    """Checks values and sorts them.

    Raises:
        ModelError: The values are empty, hold NaN or inf, are too large to square, or are not float32 or
            float64.
    """
    require_nonempty(values, "values")
    require_finite(values, "values")
    if values.dtype not in (torch.float32, torch.float64):
        raise ModelError(f"values are {values.dtype}: cluster float32 or float64, convert with .float().")
    line = SortedLine.of(values.detach().flatten().cpu().numpy())
    if max(-line.values[0], line.values[-1]) > LARGEST:
        raise ModelError(
            f"values reach beyond {LARGEST:g}, where squares overflow: these are not usable weights."
        )
    return line


def require_settings(k: int, init: str, max_iter: int) -> None:
    """Checks that a clustering can be run with these settings.

    Args:
        k: Number of clusters.
        init: A key of INITS.
        max_iter: The most iterations.

    Raises:
        RecipeError: k or max_iter is below 1, or the init is unknown.
    """
    if k < 1:
        raise RecipeError(f"k is {k}: a clustering needs at least one cluster; b bits are k = 2**b.")
    if max_iter < 1:
        raise RecipeError(f"max_iter is {max_iter}: allow at least one iteration.")
    require_known("initialisation", init, INITS, RecipeError)


def kmeans_cuts(
    line: SortedLine,
    k: int,
    init: str,
    generator: torch.Generator | None,
    max_iter: int,
    empty: str = "refill",
) -> tuple[Cuts, int]:
    """Runs k-means with checked settings.

    Args:
        line: The values.
        k: Number of clusters.
        init: A key of INITS.
        generator: For the starts that draw.
        max_iter: The most iterations.
        empty: What becomes of a cluster that loses all its members: "refill" or "keep".

    Returns:
        The cuts, and the number of iterations.
    """
    changes = line.changes()
    if k >= len(changes) - 1:
        return changes, 0
    return EMPTY[empty](line, INITS[init](line, k, generator), max_iter)


def clustering_from_cuts(
    values: Tensor, line: SortedLine, cuts: Cuts, iterations: int, pinned: int | None = None
) -> Clustering:
    """Returns the Clustering of values that are cut so; every centroid is its members' mean.

    Args:
        values: The values, in their shape.
        line: The same values, sorted.
        cuts: Where the clusters begin, with the end.
        iterations: How many it took.
        pinned: The cluster whose centroid is 0 instead.
    """
    centroids = line.exact_means(cuts)
    if pinned is not None:
        centroids[pinned] = 0.0
    # A cluster starts at one of the values, so these boundaries are exact in the values' own dtype.
    starts = torch.from_numpy(line.values[cuts[1:-1]]).to(values.device, values.dtype)
    assignment = torch.bucketize(values.detach(), starts, right=True)
    # Zero need not lie among the values pinned to it, so it can come out of order.
    order = np.argsort(centroids, kind="stable")
    if pinned is not None:
        assignment = torch.from_numpy(np.argsort(order)).to(values.device)[assignment]
    return Clustering(
        centroids=torch.from_numpy(centroids[order]).to(values.device, values.dtype),
        assignment=assignment,
        inertia=line.inertia(cuts, centroids),
        iterations=iterations,
    )
