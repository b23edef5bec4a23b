"""Levels moved to cheaper ones, block of columns by block of columns, until no move pays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pithnet.tensor.rate_distortion.problem import Rounding

_BLOCK = 128
_ROUNDS = 64  # of moves in a block
_AGAIN = 4  # times the moves that others rule out are taken out of what rules out others
_FEWER = 0.75  # of the levels looked at: when so few are left, the others are looked at no more
_NEAR = 2.0  # bits: levels whose best move loses more are left alone until the next sweep
_GAIN = 1e-5  # bits, the least for which a level is moved


def descend(problem: Rounding, levels: Tensor, sweeps: int, block: int = _BLOCK) -> Tensor:
    """Moves levels to the cheapest of those around them, over all columns, `sweeps` times.

    The cost never rises. Where a sweep changes nothing, no level alone can be moved for less to zero, or to
    one of the three around the best real number. In each block of columns the best move of every row is made,
    again and again. Moves of several rows are made at once where they keep at least half of what they gain
    alone.

    Args:
        problem: What is rounded.
        levels: int64 (O, K), where to begin.
        sweeps: How often each column is looked at, at most.
        block: How many columns are looked at together.

    Returns:
        The levels, int64 (O, K).
    """
    search = _Descent(problem, levels)
    for _ in range(sweeps):
        if not search.sweep(block):
            break
    return search.levels[:, :-1].contiguous()


@dataclass
class _Places:
    """Some weights of a block, and where the levels stand that their bits depend on.

    Attributes:
        rows: int64 (A,).
        columns: int64 (A,), from the start of the block.
        own: int64 (A,), their places among all levels.
        before: int64 (A,) twice, the places to the left and above.
        after: For each place in whose context they are, int64 (A,) twice and (A,): that place, the place of
            its other neighbour, and 1 where there is such a place, else 0.
        square: (A,), the bits of a squared error of one level.
        scale: (A,), what turns a slope into steps to the best real number.
    """

    rows: Tensor
    columns: Tensor
    own: Tensor
    before: tuple[Tensor, Tensor]
    after: list[tuple[Tensor, Tensor, Tensor]]
    square: Tensor
    scale: Tensor

    def of(self, which: Tensor) -> _Places:
        """Returns those that a mask names."""
        rows, columns, own = self.rows[which], self.columns[which], self.own[which]
        before = self.before[0][which], self.before[1][which]
        after = [(place[which], other[which], there[which]) for place, other, there in self.after]
        return _Places(rows, columns, own, before, after, self.square[which], self.scale[which])


class _Descent:
    """The levels of a descent, in steps, with a column of zeros as the neighbour of those without."""

    def __init__(self, problem: Rounding, levels: Tensor) -> None:
        self.problem = problem
        self.levels = torch.cat([levels, levels.new_zeros(len(levels), 1)], 1)
        self.flat = self.levels.view(-1)
        near, size = problem.neighbours, levels.shape[1]
        left, above = (torch.cat([of, of.new_tensor([size])]) for of in (near.left, near.above))
        self.before = near.left, near.above
        self.after = [(of, other[of]) for of, other in ((near.right, above), (near.below, left))]
        self.after = [pair for pair in self.after if bool((pair[0] < size).any())]
        bits = problem.rates.bits
        # What a level could save in its context, and one whose context changes.
        self.spare = bits - bits.amin(1, keepdim=True)
        self.swing = bits.amax(0) - bits.amin(0)

    def sweep(self, block: int) -> bool:
        """Looks once at every column; tells whether any level has changed."""
        problem, size = self.problem, self.problem.target.shape[1]
        error = problem.target - self.levels[:, :-1] * problem.steps[:, None]
        pull = problem.of_outputs(error @ problem.hessian)  # the slope of the distortion, by weight
        changed = False
        for start in range(0, size, block):
            end = min(start + block, size)
            moved = self._block(start, end, pull[:, start:end])
            if moved is not None:
                changed = True
                pull[:, end:] -= problem.of_outputs(moved) @ problem.hessian[start:end, end:]
        return changed

    def _block(self, start: int, end: int, pull: Tensor) -> Tensor | None:
        """Moves levels of some columns; returns by how much weights have moved, (O, B), or None."""
        problem = self.problem
        places = self._plausible(start, end, pull)
        before = self.levels[:, start:end].clone()
        for _ in range(_ROUNDS):
            found, gains = self._best(places, pull[places.rows, places.columns] * places.scale)
            near = gains > -_NEAR
            if int(near.sum()) < _FEWER * len(gains):
                places, found, gains = places.of(near), found[near], gains[near]
            chosen = _best_of_rows(places.rows, gains, len(before))
            if not len(chosen):
                break
            moves = (found[chosen] - self.flat[places.own[chosen]]) * problem.steps[places.rows[chosen]]
            if problem.outputs.ndim == 2:
                kept = self._compatible(places, chosen, gains[chosen], moves, start)
                chosen, moves = chosen[kept], moves[kept]
            self.flat[places.own[chosen]] = found[chosen]
            rows, columns = places.rows[chosen], places.columns[chosen] + start
            places = self._follow(places, rows, problem.hessian[columns, start:end] * moves[:, None], pull)
        moved = (self.levels[:, start:end] - before) * problem.steps[:, None]
        return moved if bool(moved.any()) else None

    def _follow(self, places: _Places, rows: Tensor, spread: Tensor, pull: Tensor) -> _Places:
        """Takes moves of some rows into the slopes of a block, in place; returns where to look again."""
        problem = self.problem
        if problem.outputs.ndim == 2:
            pull -= problem.outputs[rows].t() @ spread
            return places
        pull[rows] -= problem.outputs[rows, None] * spread
        again = torch.zeros(len(pull), dtype=torch.bool, device=rows.device)
        again[rows] = True  # the other rows have nothing left to gain
        return places.of(again[places.rows])

    def _plausible(self, start: int, end: int, pull: Tensor) -> _Places:
        """Returns the weights of a block that might be moved for less; for all others a bound rules it out.

        A level other than the present one is at least 1 - |distance| from the best real number, so it costs
        at least `square` (1 - 2 |distance|) bits of distortion more. It cannot save more bits than its own
        level takes beyond the cheapest of its context, and those in whose contexts it stands beyond the
        cheapest contexts.
        """
        problem, at, levels = self.problem, slice(start, end), self.levels
        rates, size = problem.rates, levels.shape[1] - 1
        diagonal = problem.hessian.diagonal()[at]
        square = problem.bits_of_square[:, None] * diagonal
        scale = 1 / (problem.importance * problem.steps)[:, None] / diagonal
        sums = levels[:, self.before[0][at]] + levels[:, self.before[1][at]]
        context = rates.of_sum.take(sums + 2 * rates.reach)
        most = self.spare.take(context + levels[:, at])
        for place, _ in self.after:
            there = (place[at] < size).to(most.dtype)
            most += self.swing.take(levels[:, place[at]] + rates.reach) * there
        likely = most > square * (1 - 2 * (pull * scale).abs())
        if problem.kept is not None:
            likely &= problem.kept[:, at] | (levels[:, at] != 0)
        rows, columns = likely.nonzero(as_tuple=True)
        base, column = rows * (size + 1), columns + start
        after = [
            (base + of[column], base + other[column], (of[column] < size).to(most.dtype))
            for of, other in self.after
        ]
        before = base + self.before[0][column], base + self.before[1][column]
        picked = square[rows, columns], scale[rows, columns]
        return _Places(rows, columns, base + column, before, after, *picked)

    def _best(self, places: _Places, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the cheapest other level for each place, and how many bits it saves beside the present."""
        problem, rates = self.problem, self.problem.rates
        now = self.flat[places.own]
        wanted = (now + distance)[:, None]
        tried = problem.around(wanted)
        if problem.kept is not None:
            tried *= problem.kept[places.rows, places.own % self.levels.shape[1], None]
        tried = torch.cat([tried, now[:, None]], 1)
        costs = (wanted - tried).square_().mul_(places.square[:, None])
        sums = self.flat[places.before[0]] + self.flat[places.before[1]]
        costs += rates.bits.take(rates.of_sum.take(sums + 2 * rates.reach)[:, None] + tried)
        for place, other, there in places.after:
            context = rates.of_sum.take(tried + (self.flat[other] + 2 * rates.reach)[:, None])
            costs += rates.bits.take(context + self.flat[place][:, None]) * there[:, None]
        others = costs[:, :-1].masked_fill_(tried[:, :-1] == now[:, None], math.inf)
        least, best = others.min(1)
        return tried.gather(1, best[:, None])[:, 0], costs[:, -1] - least

    def _compatible(
        self, places: _Places, chosen: Tensor, gains: Tensor, moves: Tensor, start: int
    ) -> Tensor:
        """Returns which of some moves, at most one in each row, keep at least half their gains together.

        A move is left out where moves that gain more, and are made, take more than half of its own gain.
        """
        problem = self.problem
        order = gains.argsort(descending=True, stable=True)
        rows, columns = places.rows[chosen][order], places.columns[chosen][order] + start
        own, moves = gains[order], moves[order]
        together = problem.outputs[rows][:, rows] * problem.hessian[columns][:, columns]
        together = (together * moves[:, None] * (moves / problem.price)).tril(-1)
        taken = together.sum(1) <= own / 2
        for _ in range(_AGAIN):
            taken = together @ taken.to(together.dtype) <= own / 2
        lost = (together * taken).sum(1)[taken].cumsum(0)
        good = (lost <= own[taken].cumsum(0) / 2).nonzero()[:, 0]
        return order[taken][: int(good[-1]) + 1]


def _best_of_rows(rows: Tensor, gains: Tensor, count: int) -> Tensor:
    """Returns the number of the best move of each row that has one worth while, int64 (n,)."""
    some = (gains > _GAIN).nonzero()[:, 0]
    most = gains.new_zeros(count).scatter_reduce_(0, rows[some], gains[some], "amax")
    some = some[gains[some] == most[rows[some]]]
    first = torch.full((count,), len(gains), device=rows.device)
    first.scatter_reduce_(0, rows[some], some, "amin")  # of equal ones
    return first[first < len(gains)]
