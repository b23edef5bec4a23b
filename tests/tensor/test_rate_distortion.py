"""Levels that weigh bits against errors: beside all others on problems small enough to try them all."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pithnet.errors import ModelError
from pithnet.tensor.rate_distortion.contexts import CONTEXTS, Neighbours, Rates
from pithnet.tensor.rate_distortion.descent import descend
from pithnet.tensor.rate_distortion.factors import cholesky_factor
from pithnet.tensor.rate_distortion.in_order import Feedback, round_in_order
from pithnet.tensor.rate_distortion.problem import Rounding

ALL = [torch.tensor(levels).view(2, 3) for levels in itertools.product((-1, 0, 1), repeat=6)]


def problem(
    seed: int, rows: int = 3, columns: int = 4, reach: int = 1, price: float = 0.05, step: float = 0.7
) -> Rounding:
    """Random weights, inputs and outputs that depend on each other, and bits that differ by context."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(2 * columns, columns, generator=generator)
    outputs = torch.randn(2 * rows, rows, generator=generator)
    bits = 3 * torch.rand(CONTEXTS, 2 * reach + 1, generator=generator)
    return Rounding(
        torch.randn(rows, columns, generator=generator),
        inputs.t() @ inputs / len(inputs),
        outputs.t() @ outputs / len(outputs),
        torch.full((rows,), step),
        price,
        Rates(bits, 0.5),
        Neighbours.of_kernels(columns, 2, columns // 2),
    )


def changes(levels: Tensor) -> list[Tensor]:
    """All levels (3, 4) that differ from these at one place."""
    found = []
    for row, column, level in itertools.product(range(3), range(4), (-1, 0, 1)):
        other = levels.clone()
        other[row, column] = level
        found.append(other)
    return found


def in_double(own: Rounding) -> Rounding:
    """The same problem in double precision, where the order of sums decides nothing."""
    own = replace(own, target=own.target.double(), hessian=own.hessian.double(), steps=own.steps.double())
    return replace(own, outputs=own.outputs.double(), rates=replace(own.rates, bits=own.rates.bits.double()))


@pytest.mark.parametrize("block", [1, 3, 128])
@pytest.mark.parametrize("seed", range(6))
def test_no_single_level_can_be_moved_for_less_at_the_end(seed: int, block: int) -> None:
    own = problem(seed)
    start = own.nearest()
    end = descend(own, start, 50, block)
    assert float(own.cost(end)) <= float(own.cost(start))
    assert float(own.cost(end)) <= min(float(own.cost(other)) for other in changes(end)) + 1e-5 * own.price
    assert torch.equal(descend(own, end, 1), end)


def swept(own: Rounding, levels: Tensor) -> Tensor:
    """One level after the other, column by column, moved to whichever costs least in all: no algebra."""
    levels = levels.clone()
    for column, row in itertools.product(range(levels.shape[1]), range(len(levels))):
        costs = []
        for level in range(-own.rates.reach, own.rates.reach + 1):
            levels[row, column] = level
            costs.append(float(own.cost(levels)))
        levels[row, column] = costs.index(min(costs)) - own.rates.reach
    return levels


@pytest.mark.parametrize("seed", range(6))
def test_in_blocks_of_a_column_rows_that_do_not_depend_on_each_other_move_as_one_by_one(seed: int) -> None:
    own = in_double(problem(seed))
    own = replace(own, outputs=own.outputs.diagonal())
    levels = start = own.nearest()
    for _ in range(3):
        levels = swept(own, levels)
    assert torch.equal(descend(own, start, 3, block=1), levels)
    # In larger blocks the moves come in another order, and end where nothing can be moved either.
    end = descend(own, start, 50)
    assert torch.equal(swept(own, end), end)


@pytest.mark.parametrize("seed", range(3))
def test_errors_handed_on_in_blocks_are_those_handed_on_one_by_one(seed: int) -> None:
    own = in_double(problem(seed, rows=8, columns=48, reach=8, price=1e-3, step=0.4))
    expected = round_in_order(own, block=1)
    assert not torch.equal(expected, own.nearest())
    for block in (5, 48):
        assert torch.equal(round_in_order(own, block=block), expected)


def test_feedback_is_what_each_column_adds_to_the_error_of_a_row() -> None:
    own = in_double(problem(0, columns=12))
    feedback, error = Feedback.of(own.hessian), own.target
    terms = feedback.curvature * (error @ feedback.shares).square()
    assert torch.allclose(terms.sum(1), ((error @ own.hessian) * error).sum(1))
    assert torch.equal(feedback.shares, feedback.shares.triu())
    # The curvature is what later columns leave of a column's own: GPTQ's, from the inverse.
    inverse = torch.linalg.cholesky(own.hessian.inverse(), upper=True)
    assert torch.allclose(feedback.curvature, inverse.diagonal().pow(-2))


def test_the_cost_falls_from_sweep_to_sweep_also_where_rows_move_together() -> None:
    own = problem(0, rows=24, columns=36, reach=6, price=0.02, step=0.3)
    ones = torch.ones(24, 24) * float(own.outputs.diagonal().mean()) * 2
    own = replace(own, outputs=own.outputs + ones)  # what one row errs another can make good
    levels, costs = own.nearest(), [float(own.cost(own.nearest()))]
    for _ in range(4):
        levels = descend(own, levels, 1)
        costs.append(float(own.cost(levels)))
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.7 * costs[0]


@pytest.mark.parametrize("seed", range(3))
def test_weights_that_know_nothing_of_each_other_get_the_very_best_levels(seed: int) -> None:
    own = problem(seed, rows=2, columns=3)
    own = replace(own, hessian=own.hessian.diagonal().diag(), outputs=own.outputs.diagonal())
    own = replace(own, neighbours=Neighbours.none(3))
    best = min(ALL, key=lambda levels: float(own.cost(levels)))
    assert torch.equal(round_in_order(own), best)
    assert torch.equal(descend(own, -own.nearest(), 1), best)


def test_descent_ends_near_the_best_of_all_levels() -> None:
    excess = []
    for seed in range(8):
        own = problem(seed, rows=2, columns=3)
        own = replace(own, neighbours=Neighbours.of_kernels(3, 1, 3))
        costs = torch.tensor([float(own.cost(levels)) for levels in ALL])
        end = descend(own, round_in_order(own), 20)
        excess.append((float(own.cost(end)) - float(costs.min())) / float(costs.median() - costs.min()))
    assert min(excess) > -1e-6
    assert sum(excess) / len(excess) < 0.1


def test_rounding_in_order_beats_the_nearest_levels_and_descent_beats_it() -> None:
    ratios = []
    for seed in range(5):
        own = problem(seed, rows=8, columns=48, reach=8, price=1e-3, step=0.4)
        alone = replace(own, outputs=own.outputs.diagonal(), neighbours=Neighbours.none(48))
        costs = [float(alone.cost(levels)) for levels in (own.nearest(), round_in_order(alone))]
        costs.append(float(alone.cost(descend(alone, round_in_order(alone), 3))))
        ratios.append((costs[1] / costs[0], costs[2] / costs[1]))
    first, second = (sum(column) / len(ratios) for column in zip(*ratios, strict=True))
    assert first < 0.9
    assert second < 0.99


def test_a_dearer_bit_buys_fewer_of_them() -> None:
    own = problem(1, rows=8, columns=48, reach=8, step=0.4)
    bits = []
    for price in (1e-3, 1e-2, 1e-1, 1.0):
        dear = replace(own, price=price)
        bits.append(float(dear.rates.total(descend(dear, round_in_order(dear), 5), dear.neighbours)))
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < 0.6 * bits[0]


def test_pruned_weights_stay_zero() -> None:
    own = problem(2, reach=4, price=1e-6, step=0.1)
    own = replace(own, kept=torch.arange(12).view(3, 4) % 3 > 0)
    for levels in (own.nearest(), round_in_order(own), descend(own, own.nearest(), 5)):
        assert not levels[~own.kept].any()
        assert bool(levels[own.kept].any())


def test_contexts_are_those_of_kernels() -> None:
    near = Neighbours.of_kernels(12, 2, 3)
    assert near.left.tolist() == [12, 0, 1, 12, 3, 4, 12, 6, 7, 12, 9, 10]
    assert near.above.tolist() == [12, 12, 12, 0, 1, 2, 12, 12, 12, 6, 7, 8]
    assert near.right.tolist() == [1, 2, 12, 4, 5, 12, 7, 8, 12, 10, 11, 12]
    assert near.below.tolist() == [3, 4, 5, 12, 12, 12, 9, 10, 11, 12, 12, 12]
    rates = Rates(torch.zeros(CONTEXTS, 9), far=1.5)
    levels = torch.tensor([[1, -2, 0, 2, 1, -1, 0, 0, 0, 3, 0, 0]])
    # The sums to the left and above: 0, 1, -2, 1, 0, 1, ...
    assert rates.contexts(levels, near).tolist() == [[0, 2, 3, 2, 0, 2, 0, 0, 0, 0, 4, 0]]


def test_rates_are_entropies_of_what_is_frequent() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(torch.tensor([1.0, 2.0, 10.0, 2.0, 1.0]), 64_000, True, generator=generator) - 2
    levels = drawn.view(64, 1000)
    near = Neighbours.none(1000)
    found = Rates.of(levels, near, 4)
    shares = torch.tensor([1.0, 2.0, 10.0, 2.0, 1.0]) / 16
    entropy = -float((shares * shares.log2()).sum())
    assert float(found.total(levels, near)) / levels.numel() == pytest.approx(entropy, rel=0.02)
    assert found.bits[0, 2:7].tolist() == pytest.approx((-shares.log2()).tolist(), abs=0.15)
    assert bool((found.bits.exp2().reciprocal().sum(1) - 1).abs().max() < 1e-4)  # each context's shares are 1
    assert bool(found.bits.isfinite().all())


def test_levels_that_follow_their_neighbours_take_fewer_bits_in_context() -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.randn(32, 300, generator=generator).cumsum(1).div(3).round().clamp(-3, 3).long()
    row = Neighbours.of_kernels(300, 1, 300)
    none = Neighbours.none(300)
    with_context = float(Rates.of(smooth, row, 4).total(smooth, row))
    assert with_context < 0.9 * float(Rates.of(smooth, none, 4).total(smooth, none))


def test_a_laplace_distribution_has_the_mean_it_is_given() -> None:
    for mean in (0.2, 1.0, 5.0):
        bits = Rates.laplace(torch.tensor(mean), 200).bits[0].double()
        places = torch.arange(-200, 201).abs()
        assert float((2**-bits * places).sum()) == pytest.approx(mean, rel=1e-3)
        assert math.isclose(float((2**-bits).sum()), 1, rel_tol=1e-4)


def test_slopes_are_those_of_the_line_between_the_bits_of_two_levels() -> None:
    own = problem(1, rows=5, columns=6, reach=4)
    weights = (torch.rand(5, 6, generator=torch.Generator().manual_seed(2)) - 0.5) * 7.9
    weights[0, 0] = 0.0
    slopes = own.rates.slopes(weights, own.neighbours)
    contexts = own.rates.contexts(weights.round().long(), own.neighbours)
    for row, column in itertools.product(range(5), range(6)):
        value, bits = float(weights[row, column]), own.rates.bits[contexts[row, column]]
        low, high = math.floor(value), math.ceil(value)
        assert float(slopes[row, column]) == pytest.approx(float(bits[high + 4] - bits[low + 4]), abs=1e-5)
    beyond = torch.full((5, 6), 9.0)
    assert torch.equal(own.rates.slopes(beyond, own.neighbours), own.rates.slopes(beyond - 5, own.neighbours))


def test_a_covariance_a_little_below_zero_has_a_factor() -> None:
    generator = torch.Generator().manual_seed(0)
    narrow = torch.randn(8, 3, generator=generator)
    matrix = narrow @ narrow.T - 1e-6 * torch.eye(8)
    factor = cholesky_factor(matrix)
    assert torch.allclose(factor @ factor.T, matrix, atol=1e-3)
    whole = narrow @ narrow.T + torch.eye(8)
    assert torch.equal(cholesky_factor(whole), torch.linalg.cholesky(whole))
    with pytest.raises(ModelError, match="covariance of its inputs cannot be used"):
        cholesky_factor(matrix * torch.nan)
