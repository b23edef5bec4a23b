"""The best cut of a sorted line into at most k runs, by dynamic programming, coarse to fine.

Any cost that adds over runs will do (Bellman 1973; Wang and Song 2011 for k-means), and so will the code
length of entropy-constrained quantization, since a run's share of the values is known from its ends.
"""

from __future__ import annotations

import numpy as np

from pithnet.tensor.clustering._sorted_line import Cuts, Floats, SortedLine

GRID = 512
# The dynamic programme costs levels * grid^2; with more levels the asymptotic density is the better start.
GRID_LEVELS = 256
# A window holds 2 * REACH + 1 places; ZOOM of them span what was one step before.
REACH = 32
ZOOM = 4
# Beyond these the windows take seconds; Lloyd's iterations have to do.
REFINED_LEVELS = 512


def optimal_cuts(line: SortedLine, k: int, rate_weight: float = 0.0) -> Cuts:
    """Cuts the line into 1..k runs at the least sum of squared error + rate_weight * code length.

    A run of m out of n values has a code length of m * log2(n / m) bits. The result is the global optimum up
    to GRID distinct values (and GRID_LEVELS runs); else it is the optimum on a grid, whose cuts are then
    moved jointly within windows that narrow down to single values.

    Args:
        line: The values.
        k: The most runs. Without a rate there are exactly k, and the line must have at least k distinct
            values.
        rate_weight: >= 0, in squared value per bit.

    Returns:
        The cuts, positions 0 = cuts[0] < ... < cuts[-1] = n.
    """
    changes = line.changes()
    if k > GRID_LEVELS:
        cuts = line.refill(_asymptotic_cuts(line, k))
        steps = np.minimum(np.diff(cuts)[:-1], np.diff(cuts)[1:])
        return _refined(line, changes, cuts, steps, rate_weight) if k <= REFINED_LEVELS else cuts
    if len(changes) <= GRID + 1:
        return _grid_optimum(line, changes, k, rate_weight)
    grid = _grid(line, changes, k)
    cuts = _grid_optimum(line, grid, k, rate_weight)
    place = np.searchsorted(grid, cuts[1:-1])
    steps = np.maximum(grid[place + 1] - grid[place], grid[place] - grid[place - 1])
    return _refined(line, changes, cuts, steps, rate_weight)


def _grid(line: SortedLine, changes: Cuts, k: int) -> Cuts:
    """Returns a grid half as dense as the best levels, for the bulk, and half equal in width, for the tails.

    Another k + 1 changes of value make sure that k runs can be cut however the values are tied.
    """
    by_density = _asymptotic_cuts(line, GRID // 2)
    by_width = line.cut_at(np.linspace(line.values[0], line.values[-1], GRID // 2))
    by_rank = changes[np.linspace(0, len(changes) - 1, k + 1).astype(np.int64)]
    return np.unique(np.concatenate((by_density, by_width, by_rank)))


def _asymptotic_cuts(line: SortedLine, k: int) -> Cuts:
    """Returns levels as dense as the cube root of the values' density, which is best as k grows.

    Source: Panter and Dite 1951.
    """
    edges = line.values[np.linspace(0, len(line) - 1, 2 * k + 1).astype(np.int64)]
    # A run of equal mass and width d has density ~ 1/d and so wants d * d^(-1/3) of the levels.
    share = np.concatenate(([0.0], np.cumsum(np.diff(edges) ** (2 / 3))))
    return line.cut_at(np.interp(np.arange(1, k) / k * share[-1], share, edges))


def _grid_optimum(line: SortedLine, grid: Cuts, k: int, rate_weight: float) -> Cuts:
    """Returns the global optimum among cuts at `grid`: O(k g^2) time, O(g^2 + k g) memory for g places."""
    cost = _run_costs(line, grid[None, :], grid[:, None], rate_weight)
    best = cost[:, 0].copy()
    choices = [np.zeros(len(grid), dtype=np.int64)]
    totals = [best[-1]]
    places = np.arange(len(grid))
    for _ in range(1, min(k, len(grid) - 1)):
        through = cost + best
        choices.append(through.argmin(axis=1))
        best = through[places, choices[-1]]
        totals.append(best[-1])
    # Without a rate another run never costs; rounding must not decide that it does.
    runs = int(np.argmin(totals)) + 1 if rate_weight > 0.0 else len(totals)
    path = [len(grid) - 1]
    for choice in reversed(choices[:runs]):
        path.append(int(choice[path[-1]]))
    return grid[path[::-1]]


def _refined(line: SortedLine, changes: Cuts, cuts: Cuts, steps: Cuts, rate_weight: float) -> Cuts:
    """Moves all inner cuts jointly within their windows while that helps, then zooms in to single changes."""
    place = np.searchsorted(changes, cuts)
    steps = np.searchsorted(changes, cuts[1:-1] + steps) - place[1:-1]
    total = np.inf
    while True:
        steps = np.maximum(steps // ZOOM, 1)
        while True:
            moved, moved_total = _window_optimum(line, changes, place, steps, rate_weight)
            if not moved_total < total * (1.0 - 1e-9):
                break
            place, total = moved, moved_total
        if np.all(steps == 1):
            return changes[place]


def _window_optimum(
    line: SortedLine, changes: Cuts, place: Cuts, steps: Cuts, rate_weight: float
) -> tuple[Cuts, float]:
    """Returns the best places (indices into `changes`) for inner cuts within REACH steps, and their cost."""
    offsets = np.arange(-REACH, REACH + 1)
    windows = np.repeat(place[:, None], len(offsets), axis=1)
    windows[1:-1] = np.clip(windows[1:-1] + steps[:, None] * offsets, 1, len(changes) - 2)
    ends = changes[windows]
    costs = _run_costs(line, ends[:-1, None, :], ends[1:, :, None], rate_weight)
    best = np.zeros(len(offsets))
    choices = []
    columns = np.arange(len(offsets))
    for cost in costs:
        through = cost + best
        choices.append(through.argmin(axis=1))
        best = through[columns, choices[-1]]
    path = [REACH]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return windows[np.arange(len(place)), path[::-1]], float(best[REACH])


def _run_costs(line: SortedLine, starts: Cuts, ends: Cuts, rate_weight: float) -> Floats:
    """Returns the cost of the runs values[start:end], broadcast; inf where a run is empty."""
    counts = (ends - starts).astype(np.float64)
    empty = counts <= 0
    counts[empty] = 1.0
    moments = line.sums[ends] - line.sums[starts]
    cost = line.squares[ends] - line.squares[starts] - moments * moments / counts
    np.maximum(cost, 0.0, out=cost)
    if rate_weight > 0.0:
        cost += rate_weight * counts * np.log2(len(line) / counts)
    cost[empty] = np.inf
    return cost
