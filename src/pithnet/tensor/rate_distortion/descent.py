"""Levels of least distortion and bits: one weight at a time, the rows of a column together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pithnet.tensor.rate_distortion.contexts import Neighbours, Rates

_BLOCK = 64
_ROUNDS = 64  # of changes to a column whose rows depend on each other
_GAIN = 1e-5  # bits, the least for which a level is changed


@dataclass(frozen=True)
class Rounding:
    """A matrix of weights to be rounded to whole multiples of steps, and what errors and bits cost.

    The cost of levels q is 1/2 tr(G E H E^T) + price * bits(q), with E = target - q * steps[:, None].

    Attributes:
        target: (O, K), the weights.
        hessian: H, (K, K), positive definite: second moments of the layer's inputs.
        outputs: G, (O, O), positive semidefinite with a positive diagonal: what errors of the outputs cost
            together; or (O,), its diagonal, where nothing else is in it.
        steps: (O,), the distance of two levels in each row.
        price: what a bit costs.
        rates: the bits of each level in its context.
        neighbours: which columns are each other's contexts.
        kept: booleans (O, K), False where the level is zero whatever it costs; None for none.
    """

    target: Tensor
    hessian: Tensor
    outputs: Tensor
    steps: Tensor
    price: float
    rates: Rates
    neighbours: Neighbours
    kept: Tensor | None = None

    def cost(self, levels: Tensor) -> Tensor:
        """Returns the cost of levels, int64 (O, K), as a scalar in double precision."""
        error = (self.target - levels * self.steps[:, None]).double()
        outputs = self.outputs.double()
        pull = outputs @ error if outputs.ndim == 2 else outputs[:, None] * error
        distortion = (pull @ self.hessian.double() * error).sum() / 2
        return distortion + self.price * self.rates.total(levels, self.neighbours)

    def with_rates_of(self, levels: Tensor) -> Rounding:
        """Returns the same problem with the rates that these levels have."""
        return replace(self, rates=Rates.of(levels, self.neighbours, self.rates.reach))

    def nearest(self) -> Tensor:
        """Returns the nearest levels, int64 (O, K), whatever they cost."""
        reach = self.rates.reach
        found = (self.target / self.steps[:, None]).round().clamp(-reach, reach).long()
        return found if self.kept is None else torch.where(self.kept, found, 0)

    @cached_property
    def importance(self) -> Tensor:
        """The diagonal of G, (O,)."""
        return self.outputs.diagonal() if self.outputs.ndim == 2 else self.outputs

    @cached_property
    def bits_of_square(self) -> Tensor:
        """How many bits a squared error of one level costs, times H_jj of its column, (O,)."""
        return self.importance * self.steps.square() / (2 * self.price)

    @cached_property
    def between_rows(self) -> Tensor | None:
        """G without its diagonal, None where that is all there is."""
        return None if self.outputs.ndim == 1 else self.outputs - self.importance.diag()

    def of_outputs(self, errors: Tensor) -> Tensor:
        """Returns G times errors, (O,) or (O, K)."""
        if self.outputs.ndim == 2:
            return self.outputs @ errors
        return (self.outputs if errors.ndim == 1 else self.outputs[:, None]) * errors


def round_in_order(problem: Rounding) -> Tensor:
    """Rounds column by column; the error of each is made good by the later ones, as far as inputs allow it.

    This is GPTQ (Frantar et al. 2022) in which a level pays for its bits too: that of least s d (w - level)^2
    + price * bits is taken, with s half the diagonal of G, and d the curvature that is left once the later
    columns have made good what they can. Other entries of G have no say.

    Returns:
        The levels, int64 (O, K).
    """
    feedback, curvature = _feedback(problem.hessian)
    rest = problem.target / problem.steps[:, None]
    levels = torch.zeros(rest.shape[0], rest.shape[1] + 1, dtype=torch.int64, device=rest.device)
    rates, size = problem.rates, rest.shape[1]
    left, above = problem.neighbours.left.tolist(), problem.neighbours.above.tolist()
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        errors = torch.zeros_like(rest[:, start:end])
        for j in range(start, end):
            wanted = rest[:, j, None]
            tried = _around(problem, wanted, None, j)
            context = rates.of_sum.take(levels[:, left[j]] + levels[:, above[j]] + 2 * rates.reach)
            costs = (wanted - tried).square_().mul_((problem.bits_of_square * curvature[j])[:, None])
            costs += rates.bits.take(context[:, None] + tried)
            found = tried.gather(1, costs.argmin(1, keepdim=True))[:, 0]
            levels[:, j] = found
            errors[:, j - start] = (rest[:, j] - found) / feedback[j, j]
            rest[:, j:end] -= errors[:, j - start, None] * feedback[j, j:end]
        rest[:, end:] -= errors @ feedback[start:end, end:]
    return levels[:, :size].contiguous()


def _feedback(hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the upper Cholesky factor of the inverse, and the curvature that each column is left with."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian.double()))
    found = torch.linalg.cholesky(inverse, upper=True)
    return found.to(hessian.dtype), found.diagonal().pow(-2).to(hessian.dtype)


def _around(problem: Rounding, wanted: Tensor, now: Tensor | None, j: int | slice) -> Tensor:
    """Returns levels to try, int64 (..., C): those around the wanted ones (..., 1), zero, and the present."""
    reach = problem.rates.reach
    near = wanted.round().clamp_(-reach, reach).long()
    tried = [(near - 1).clamp_(min=-reach), near, (near + 1).clamp_(max=reach), torch.zeros_like(near)]
    found = torch.cat(tried if now is None else [*tried, now], -1)
    if problem.kept is None:
        return found
    return found * problem.kept[:, j, None]


def descend(problem: Rounding, levels: Tensor, sweeps: int) -> Tensor:
    """Moves one level after the other to the cheapest of those around it, over all columns, `sweeps` times.

    The cost never rises. Where a sweep changes nothing, no level alone can be moved for less to zero, or to
    one of the three around the best real number. Changes to several rows of a column are made at once where
    they keep at least half of what they gain alone.

    Args:
        problem: what is rounded.
        levels: int64 (O, K), where to begin.
        sweeps: how often each column is looked at, at most.

    Returns:
        The levels, int64 (O, K).
    """
    search = _Descent(problem, levels)
    for _ in range(sweeps):
        if not search.sweep():
            break
    return search.levels[:, :-1].contiguous()


class _Descent:
    """The levels of a descent, in steps, with a column of zeros as the neighbour of those without."""

    def __init__(self, problem: Rounding, levels: Tensor) -> None:
        self.problem = problem
        self.levels = torch.cat([levels, levels.new_zeros(len(levels), 1)], 1)
        near = problem.neighbours
        self.lists = [of.tolist() for of in (near.left, near.above, near.right, near.below)]
        diagonal = problem.hessian.diagonal()
        self.square = problem.bits_of_square[:, None] * diagonal
        self.slope_scale = 1 / (problem.importance * problem.steps)[:, None] / diagonal

    def sweep(self) -> bool:
        """Looks once at every column; tells whether any level has changed."""
        problem, size = self.problem, self.problem.target.shape[1]
        error = problem.target - self.levels[:, :-1] * problem.steps[:, None]
        pull = problem.of_outputs(error) @ problem.hessian  # the slope of the distortion, by weight
        changed = False
        for start in range(0, size, _BLOCK):
            end = min(start + _BLOCK, size)
            moves = torch.zeros_like(pull[:, start:end])
            for j in self._restless(start, end, pull):
                moved = self._column(j, pull[:, j])
                if moved is None:
                    continue
                changed = True
                moves[:, j - start] = moved
                pull[:, start:end] -= problem.of_outputs(moved)[:, None] * problem.hessian[j, start:end]
            if end < size:
                pull[:, end:] -= problem.of_outputs(moves @ problem.hessian[start:end, end:])
        return changed

    def _restless(self, start: int, end: int, pull: Tensor) -> list[int]:
        """Returns the columns in which a level can be moved for less, as things are before any is."""
        at = slice(start, end)
        _, costs = self._costs(at, pull[:, at] * self.slope_scale[:, at])
        gains = costs[..., -1] - costs.amin(-1)
        return (start + (gains > _GAIN).any(0).nonzero()[:, 0]).tolist()

    def _column(self, j: int, pull: Tensor) -> Tensor | None:
        """Moves levels of a column; returns by how much its weights have moved, (O,), or None."""
        problem, at = self.problem, slice(j, j + 1)
        scale, before = self.slope_scale[:, j], self.levels[:, j].clone()
        for _ in range(_ROUNDS):
            tried, costs = (found[:, 0] for found in self._costs(at, (pull * scale)[:, None]))
            place = costs.argmin(1, keepdim=True)  # min starts threads even for so few numbers
            gains = (costs[:, -1:] - costs.gather(1, place))[:, 0]
            chosen = gains > _GAIN
            if not bool(chosen.any()):
                break
            move = tried.gather(1, place)[:, 0] - self.levels[:, j]
            coupling = problem.between_rows
            if coupling is not None:
                weight = problem.hessian[j, j] / problem.price
                chosen = _compatible(chosen, gains, move * problem.steps, coupling, weight)
            move = move * chosen
            self.levels[:, j] += move
            if coupling is None:
                break
            pull = pull - problem.hessian[j, j] * problem.of_outputs(move * problem.steps)
        moved = (self.levels[:, j] - before) * problem.steps
        return moved if bool(moved.any()) else None

    def _costs(self, at: slice, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Returns levels to try in some columns, and their costs in bits; the last are those there.

        Args:
            at: the columns.
            distance: (O, B), by how many steps the best real numbers are away.
        """
        now = self.levels[:, at]
        wanted = (now + distance)[..., None]
        tried = _around(self.problem, wanted, now[..., None], at)
        costs = (wanted - tried).square_().mul_(self.square[:, at, None])
        rates = self.problem.rates
        left, above, right, below = (of[at] for of in self.lists)
        context = rates.of_sum.take(self.levels[:, left] + self.levels[:, above] + 2 * rates.reach)
        costs += rates.bits.take(context[..., None] + tried)
        self._add_dependent(costs, tried, right, self.lists[1])
        self._add_dependent(costs, tried, below, self.lists[0])
        return tried, costs

    def _add_dependent(self, costs: Tensor, tried: Tensor, places: list[int], others: list[int]) -> None:
        """Adds the bits of the levels at `places`, beside levels tried (O, B, C) on one side of them.

        Args:
            costs: (O, B, C), changed in place.
            tried: int64 (O, B, C).
            places: the columns whose contexts depend on what is tried.
            others: of all columns, the neighbour on the other side.
        """
        rates, size = self.problem.rates, len(others)
        if all(place == size for place in places):
            return
        other = [others[place] if place < size else size for place in places]
        context = rates.of_sum.take(tried + (self.levels[:, other, None] + 2 * rates.reach))
        bits = rates.bits.take(context + self.levels[:, places, None])
        if size in places:
            bits *= torch.tensor([place < size for place in places], device=bits.device)[:, None]
        costs += bits


def _compatible(chosen: Tensor, gains: Tensor, move: Tensor, coupling: Tensor, weight: Tensor) -> Tensor:
    """Returns the changes, those of most gain first, that keep at least half their gains together.

    Args:
        chosen: booleans (O,), the changes that gain alone.
        gains: (O,), what each gains, in bits.
        move: (O,), by how much each moves its weight.
        coupling: (O, O), what moves of two rows cost together beside what they cost alone.
        weight: what turns that into bits.
    """
    order = torch.where(chosen, gains, -1.0).argsort(descending=True, stable=True)
    count = int(chosen.sum())
    while count > 1:
        some = order[:count]
        together = weight * (move[some] @ (coupling[some][:, some] @ move[some])) / 2
        if float(together) <= float(gains[some].sum()) / 2:
            break
        count //= 2
    taken = torch.zeros_like(chosen)
    taken[order[:count]] = True
    return taken
