"""Values sorted on a line with prefix sums: the cost of any run of them in O(1).

A cluster in one dimension is a run of the sorted values, so a clustering is a list of cuts: positions
`cuts[0] = 0 < ... < cuts[K] = n`, where cluster j is `values[cuts[j]:cuts[j + 1]]`. The work is done by numpy
on the CPU, because numpy's sort is about twenty times torch's here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Cuts = NDArray[np.int64]


@dataclass(frozen=True)
class SortedLine:
    """Values in ascending order, and sums over them.

    Attributes:
        values: (n,) ascending.
        shift: What is subtracted before summing.
        sums: (n + 1,) prefix sums of value - shift.
        squares: (n + 1,) prefix sums of its square.
    """

    values: Floats
    shift: float
    sums: Floats
    squares: Floats

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> SortedLine:
        """Sorts `values` (float32 or float64, any order)."""
        ordered = np.sort(values).astype(np.float64)
        # Centring keeps the squares of far-off but close-together values from cancelling.
        shift = float(ordered[0] + (ordered[-1] - ordered[0]) / 2)
        centred = ordered - shift
        sums, squares = np.zeros(len(ordered) + 1), np.zeros(len(ordered) + 1)
        np.cumsum(centred, out=sums[1:])
        np.cumsum(np.square(centred, out=centred), out=squares[1:])
        return cls(ordered, shift, sums, squares)

    def __len__(self) -> int:
        return len(self.values)

    def changes(self) -> Cuts:
        """Returns the positions where a new distinct value starts, with 0 and n: the only places to cut."""
        inner = np.flatnonzero(self.values[1:] != self.values[:-1]) + 1
        return np.concatenate(([0], inner, [len(self)]))

    def means(self, cuts: Cuts) -> Floats:
        """Returns the mean of every cluster, from the prefix sums; no cluster may be empty."""
        means = np.diff(self.sums[cuts]) / np.diff(cuts) + self.shift
        # Rounding must not carry a mean out of its cluster: the order of the levels rests on it.
        return np.clip(means, self.values[cuts[:-1]], self.values[cuts[1:] - 1])

    def errors(self, cuts: Cuts) -> Floats:
        """Returns the sum of squared distances to the mean, for every cluster; no cluster may be empty."""
        sums, squares = np.diff(self.sums[cuts]), np.diff(self.squares[cuts])
        return np.maximum(squares - sums * sums / np.diff(cuts), 0.0)

    def exact_means(self, cuts: Cuts) -> Floats:
        """Returns what `means` does, summed over the members themselves: free of cancellation, but O(n)."""
        offsets = self.values[cuts[:-1]]
        means = (
            np.add.reduceat(self.values - np.repeat(offsets, np.diff(cuts)), cuts[:-1]) / np.diff(cuts)
            + offsets
        )
        return np.clip(means, offsets, self.values[cuts[1:] - 1])

    def inertia(self, cuts: Cuts, centroids: Floats) -> float:
        """Returns the sum of squared distances to the clusters' centroids, over the members, in O(n)."""
        residual = self.values - np.repeat(centroids, np.diff(cuts))
        return float(residual @ residual)

    def cut_at(self, boundaries: Floats) -> Cuts:
        """Returns cuts that put values <= boundaries[0] in cluster 0, and so on; clusters may be empty."""
        inner = np.searchsorted(self.values, boundaries, side="right")
        return np.concatenate(([0], inner, [len(self)])).astype(np.int64)

    def refill(self, cuts: Cuts) -> Cuts:
        """Replaces every empty cluster by halving the one with the largest error; no total error rises.

        There must be as many distinct values as clusters.
        """
        full = np.unique(cuts)
        while len(full) < len(cuts):
            low, high = self.values[full[:-1]], self.values[full[1:] - 1]
            errors = np.where(low < high, self.errors(full), -1.0)
            worst = int(np.argmax(errors))
            middle = low[worst] + (high[worst] - low[worst]) / 2
            cut = int(np.searchsorted(self.values, middle, side="left"))
            if cut <= full[worst]:
                cut = int(np.searchsorted(self.values, middle, side="right"))
            full = np.insert(full, worst + 1, cut)
        return full
