"""Weight sharing that counts bits too: entropy-constrained scalar quantization on a sorted line.

Chou, Lookabaugh, Gray 1989, "Entropy-constrained vector quantization", in one dimension. A value v in cluster
j costs (v - c_j)^2 + rate_weight * l_j, where l_j = -log2(share of j) is what an ideal entropy coder spends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.tensor._checks import require_nonnegative
from pithnet.tensor.clustering._partition import optimal_cuts
from pithnet.tensor.clustering._sorted_line import Cuts, Floats, SortedLine
from pithnet.tensor.clustering.kmeans import (
    Clustering,
    clustering_from_cuts,
    kmeans_cuts,
    require_settings,
    sorted_line,
)


@dataclass(frozen=True)
class Levels:
    """Levels in any order.

    Attributes:
        centroids: (K,) the levels.
        bits: (K,) their code lengths in bits.
        pinned: The index of the level held at zero, None where none is.
    """

    centroids: Floats
    bits: Floats
    pinned: int | None = None


@dataclass(frozen=True)
class Clusters:
    """Runs of the sorted values, none of them empty.

    Attributes:
        cuts: Where the runs begin, with the end.
        pinned: The index of the run whose level is held at zero, None where none is.
    """

    cuts: Cuts
    pinned: int | None = None

    def same_as(self, other: Clusters) -> bool:
        """Tells whether another clustering has the same cuts and the same pinned run."""
        return self.pinned == other.pinned and np.array_equal(self.cuts, other.cuts)


def ecsq_1d(
    values: Tensor,
    k: int,
    rate_weight: float,
    init: str = "optimal",
    zero_code_length: float | None = None,
    generator: torch.Generator | None = None,
    max_iter: int = 1000,
) -> Clustering:
    """Minimises sum (v - c)^2 + rate_weight * code length over at most k shared values, to a fixed point.

    The start is the result of `kmeans_1d`, or, with init "optimal", the best cut for this very rate. A
    cluster that does not pay for its bits is removed. Pass the non-zero values alone where zeros are coded
    elsewhere: code lengths then are those among the non-zeros.

    Args:
        values: Any shape, float32 or float64, any device.
        k: The most shared values, besides zero.
        rate_weight: >= 0, in squared value per bit; 0 gives `kmeans_1d`. With enough clusters levels lie
            about sqrt(6 * rate_weight / ln(2)) apart, as those of the best uniform quantizer do.
        init: Where the iterations start, as in `kmeans_1d`.
        zero_code_length: None, or the bits a value costs when it is set to zero (negative where its missing
            position saves more). A level at exactly 0.0 then comes on top of the k, and the others' shares
            are taken among the values not at zero. It is absent from the result if nothing chooses it.
        generator: For the starts that draw.
        max_iter: The most iterations.

    Raises:
        ModelError: The values are empty, hold NaN or inf, are too large to square, or are of another dtype.
        RecipeError: A setting is out of range, or the init is unknown.
    """
    require_nonnegative(rate_weight, "rate_weight")
    if zero_code_length is not None and not math.isfinite(zero_code_length):
        raise RecipeError(f"zero_code_length is {zero_code_length}: use a finite number of bits, or None.")
    require_settings(k, init, max_iter)
    line, zero_bits = sorted_line(values), zero_code_length or 0.0
    if init == "optimal" and rate_weight > 0.0:
        cuts, iterations = optimal_cuts(line, min(k, len(line.changes()) - 1), rate_weight), 0
    else:
        cuts, iterations = kmeans_cuts(line, k, init, generator, max_iter)
    clusters = Clusters(cuts)
    if zero_code_length is not None:
        clusters = cheapest_clusters(line, _with_zero(best_levels(line, clusters), zero_bits), rate_weight)
    for _ in range(max_iter):
        iterations += 1
        moved = cheapest_clusters(line, best_levels(line, clusters, zero_bits), rate_weight)
        if moved.same_as(clusters):
            break
        clusters = moved
    return clustering_from_cuts(values, line, clusters.cuts, iterations, clusters.pinned)


def best_levels(line: SortedLine, clusters: Clusters, zero_bits: float = 0.0) -> Levels:
    """Makes the update step: means, and code lengths from the shares among what is not pinned to zero.

    Args:
        line: The values.
        clusters: The runs.
        zero_bits: The code length of the level held at zero.
    """
    counts, pinned = np.diff(clusters.cuts), clusters.pinned
    centroids = line.means(clusters.cuts)
    if pinned is None:
        return Levels(centroids, np.log2(len(line) / counts))
    coded = max(len(line) - int(counts[pinned]), 1)
    bits = np.log2(coded / counts)
    centroids[pinned], bits[pinned] = 0.0, zero_bits
    return Levels(centroids, bits, pinned)


def _with_zero(levels: Levels, zero_bits: float) -> Levels:
    return Levels(np.append(levels.centroids, 0.0), np.append(levels.bits, zero_bits), len(levels.centroids))


def cheapest_clusters(line: SortedLine, levels: Levels, rate_weight: float) -> Clusters:
    """Makes the assignment step: every value goes to its cheapest level; levels without members drop out.

    Args:
        line: The values.
        levels: The levels and their code lengths.
        rate_weight: The price of a bit, in squared value.
    """
    order = np.argsort(levels.centroids, kind="stable")
    used, boundaries = _lower_envelope(levels.centroids[order], rate_weight * levels.bits[order])
    cuts = line.cut_at(boundaries)
    members = np.diff(cuts) > 0
    sources = order[used[members]].tolist()
    pinned = sources.index(levels.pinned) if levels.pinned in sources else None
    return Clusters(np.concatenate(([0], cuts[1:][members])), pinned)


def _lower_envelope(centroids: Floats, prices: Floats) -> tuple[Cuts, Floats]:
    """Returns the j that minimise (v - centroids[j])^2 + prices[j] for some v, and where each takes over.

    They come in ascending order. All parabolas have the same curvature, so two of them cross once, and a
    stack finds the envelope in O(k).
    """
    used: list[int] = []
    starts: list[float] = []
    for j in range(len(centroids)):
        start = -math.inf
        while used:
            start = _takeover(centroids, prices, used[-1], j)
            if start > starts[-1]:
                break
            used.pop()
            starts.pop()
            start = -math.inf
        if start < math.inf:
            used.append(j)
            starts.append(start)
    return np.array(used, dtype=np.int64), np.array(starts[1:], dtype=np.float64)


def _takeover(centroids: Floats, prices: Floats, left: int, right: int) -> float:
    """Returns the v above which level `right` is cheaper than `left`; -inf for always, inf for never."""
    gap = centroids[right] - centroids[left]
    if gap > 0.0:
        return float(centroids[left] + gap / 2 + (prices[right] - prices[left]) / (2 * gap))
    return -math.inf if prices[right] < prices[left] else math.inf
