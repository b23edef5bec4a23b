"""Where k-means starts: (line, k, generator) -> ascending centroids. A new start is a line in INITS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from pithnet.tensor.clustering._partition import optimal_cuts
from pithnet.tensor.clustering._sorted_line import Floats, SortedLine

Init = Callable[[SortedLine, int, torch.Generator | None], Floats]


def linear(line: SortedLine, k: int, generator: torch.Generator | None) -> Floats:
    """Spaces the centroids equally from the smallest to the largest value (Han et al. 2016, section 3.2)."""
    return np.linspace(line.values[0], line.values[-1], k)


def random(line: SortedLine, k: int, generator: torch.Generator | None) -> Floats:
    """Draws k of the values without replacement (Forgy)."""
    chosen = torch.randperm(len(line), generator=generator)[:k].numpy()
    return line.values[np.sort(chosen)]


def density(line: SortedLine, k: int, generator: torch.Generator | None) -> Floats:
    """Takes the middle of each of k runs of equal mass."""
    return line.values[((np.arange(k) + 0.5) * len(line) / k).astype(np.int64)]


def plus_plus(line: SortedLine, k: int, generator: torch.Generator | None) -> Floats:
    """Draws each next centroid in proportion to the squared distance to the nearest one so far.

    This is k-means++ (Arthur and Vassilvitskii 2007). A draw takes O(n), and less as the cells shrink.
    """
    draws = torch.rand(k, generator=generator, dtype=torch.float64).numpy()
    centroids = line.values[[int(draws[0] * len(line))]]
    for draw in draws[1:]:
        cuts = line.cut_at((centroids[1:] + centroids[:-1]) / 2)
        # Mass of each cell about its centroid from the prefix sums; only the drawn cell is walked through.
        counts, offsets = np.diff(cuts), centroids - line.shift
        masses = np.diff(line.squares[cuts]) - 2 * offsets * np.diff(line.sums[cuts]) + offsets**2 * counts
        cumulative = np.cumsum(np.maximum(masses, 0.0))
        if not cumulative[-1] > 0.0:
            # Rounding sees every value on a centroid: the rest start empty, to be refilled.
            return np.pad(centroids, (0, k - len(centroids)), mode="edge")
        target = draw * cumulative[-1]
        # Nothing lies beyond the last cell with a mass, whatever rounding makes of the target.
        last = int(np.flatnonzero(masses > 0.0)[-1])
        cell = min(int(np.searchsorted(cumulative, target, side="right")), last)
        members = line.values[cuts[cell] : cuts[cell + 1]]
        inside = np.cumsum((members - centroids[cell]) ** 2)
        before = cumulative[cell - 1] if cell else 0.0
        chosen = min(int(np.searchsorted(inside, target - before, side="right")), len(members) - 1)
        centroids = np.sort(np.append(centroids, members[chosen]))
    return centroids


def optimal(line: SortedLine, k: int, generator: torch.Generator | None) -> Floats:
    """Takes the means of the best cut, found by dynamic programming (see `_partition.optimal_cuts`)."""
    return line.means(optimal_cuts(line, k))


INITS: dict[str, Init] = {
    "linear": linear,
    "random": random,
    "density": density,
    "kmeans++": plus_plus,
    "optimal": optimal,
}
