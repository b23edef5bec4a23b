"""Quantizers against their papers' and the source's formulas, on fixed tensors."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.tensor.quantizers import (
    QUANTIZERS,
    Levels,
    activation_grid,
    fit_levels,
    from_rows,
    get_quantizer,
    pact,
    require_granularity,
    to_rows,
)

ROW = torch.tensor([[0.0, -0.62, 0.35, 0.9, -0.11, 0.0, 0.27, -0.48, 0.055]])


def source_formula(w: Tensor, bits: int) -> Tensor:
    """The straight-through linear quantizer with dynamic scaling, as labs' source writes it."""
    kept = w[w != 0]
    alpha, beta = kept.max() - kept.min(), kept.min()
    steps = 2**bits - 1
    scaled = torch.round(steps * ((w - beta) / alpha)) / steps
    return torch.where(w == 0, 0.0, alpha * scaled + beta)


@pytest.mark.parametrize("bits", range(2, 9))
def test_dynamic_scaling_is_the_sources_formula_zeros_included(bits: int) -> None:
    quantizer = get_quantizer("dynamic", bits)
    for rows in (ROW, torch.randn(1, 500, generator=torch.Generator().manual_seed(bits)).relu() - 0.1):
        found = quantizer(rows, quantizer.fit(rows))
        assert torch.allclose(found, source_formula(rows, bits), atol=1e-6)
        assert torch.equal(found == 0, rows == 0)


def test_dynamic_scaling_by_hand() -> None:
    rows = torch.tensor([[0.0, -1.0, 2.0, 0.4, 0.6]])
    quantizer = get_quantizer("dynamic", 2)
    assert quantizer(rows, quantizer.fit(rows)).tolist() == [[0.0, -1.0, 2.0, 0.0, 1.0]]


def test_symmetric_int8_has_127_steps_to_each_side() -> None:
    rows = torch.tensor([[-2.54, 1.27, 0.011, 0.0]])
    quantizer = get_quantizer("linear", 8)
    levels = quantizer.fit(rows)
    assert levels.scale.tolist() == pytest.approx([0.02])
    assert (quantizer(rows, levels) / 0.02).tolist()[0] == pytest.approx([-127, 64, 1, 0], abs=1e-4)


def test_asymmetric_levels_have_a_whole_zero_point() -> None:
    rows = torch.tensor([[-1.0, 0.2, 2.0, 1.1]])
    quantizer = get_quantizer("linear", 2, symmetric=False)
    levels = quantizer.fit(rows)
    assert (levels.scale.tolist(), levels.offset.tolist()) == ([1.0], [-1.0])
    assert quantizer(rows, levels).tolist() == [[-1.0, 0.0, 2.0, 1.0]]


def test_one_symmetric_bit_is_the_mean_magnitude() -> None:
    quantizer = get_quantizer("linear", 1)
    rows = torch.tensor([[0.0, 1.0, -2.0, 3.0]])
    assert quantizer(rows, quantizer.fit(rows)).tolist() == [[0.0, 2.0, -2.0, 2.0]]


def test_linear_gives_no_gradient_beyond_its_levels() -> None:
    rows = torch.tensor([[-5.0, 0.3, 5.0]], requires_grad=True)
    get_quantizer("linear", 4)(rows, Levels(torch.tensor([0.1]), torch.tensor([-7.0]))).sum().backward()
    assert rows.grad is not None
    assert rows.grad.tolist() == [[0.0, 1.0, 0.0]]


def test_lsq_starts_and_learns_as_in_the_paper() -> None:
    quantizer, n = get_quantizer("lsq", 3), ROW.numel()
    start = quantizer.fit(ROW)
    mean = float(ROW.abs().sum() / 7)
    assert start.scale.tolist() == pytest.approx([2 * mean / math.sqrt(3)])
    assert start.offset.tolist() == [-4.0]
    scale = torch.tensor([0.2], requires_grad=True)
    rows = ROW.clone().requires_grad_()
    quantizer(rows, Levels(scale, start.offset)).sum().backward()
    steps = ROW[0] / 0.2
    # Esser et al., eq. 3: -v/s + round(v/s) inside, the outermost code beyond; times 1 / sqrt(N Qp).
    parts = torch.where(steps <= -4, -4.0, torch.where(steps >= 3, 3.0, steps.round() - steps))
    expected = float(parts[ROW[0] != 0].sum()) / math.sqrt(n * 3)
    assert scale.grad is not None
    assert rows.grad is not None
    assert scale.grad.tolist() == pytest.approx([expected], rel=1e-4)
    assert rows.grad[0].tolist() == [float(-4 < s < 3) for s in steps.tolist()]


@pytest.mark.parametrize(
    ("bits", "magnitudes"),
    [
        (2, [0, 1]),
        (3, [0, 1 / 4, 1 / 2, 1]),
        # Two terms, {0, 1, 1/4, 1/16} + {0, 1/2, 1/8, 1/32}, over their largest sum 3/2 (Li et al., eq. 5).
        (
            5,
            sorted((a + b) / 1.5 for a in (0, 1, 1 / 4, 1 / 16) for b in (0, 1 / 2, 1 / 8, 1 / 32)),
        ),
    ],
)
def test_apot_levels_are_sums_of_powers_of_two(bits: int, magnitudes: list[float]) -> None:
    quantizer = get_quantizer("apot", bits)
    levels = quantizer.fit(torch.tensor([[1.0, -0.3]]))
    codes = torch.arange(quantizer.count, dtype=torch.float32)[None]
    found = quantizer.values(codes, levels)[0].tolist()
    assert found == pytest.approx([-m for m in magnitudes[:0:-1]] + magnitudes, abs=1e-6)


def test_apot_clipping_learns_from_what_is_clipped() -> None:
    rows = torch.tensor([[2.0, 0.5]], requires_grad=True)
    scale = torch.tensor([1.0], requires_grad=True)
    get_quantizer("apot", 2)(rows, Levels(scale, torch.zeros(1))).sum().backward()
    assert rows.grad is not None
    assert rows.grad.tolist() == [[0.0, 1.0]]
    assert scale.grad is not None
    # Clipped: the outermost level 1; 0.5 rounds to 0: 0 - 0.5. Both over sqrt(2 weights).
    assert float(scale.grad) == pytest.approx((1 - 0.5) / math.sqrt(2), rel=1e-5)


def test_pact_clips_and_its_level_learns_from_the_clipped() -> None:
    x = torch.tensor([-1.0, 0.6, 1.4, 9.0, 12.0], requires_grad=True)
    alpha = torch.tensor(3.0, requires_grad=True)
    y = pact(x, alpha, 2)
    assert y.tolist() == [0.0, 1.0, 1.0, 3.0, 3.0]
    y.sum().backward()
    assert x.grad is not None
    assert alpha.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0, 0]
    assert float(alpha.grad) == 2


def test_activation_grids_hold_zero() -> None:
    assert activation_grid(0, 2.55, 8) == (pytest.approx(0.01), 0)
    assert activation_grid(-1.0, 1.55, 8) == (pytest.approx(0.01), 100)
    assert activation_grid(0.5, 1.0, 2) == (pytest.approx(1 / 3), 0)
    assert activation_grid(0, 0, 8) == (1.0, 0)


@pytest.mark.parametrize(
    ("granularity", "shape", "rows"),
    [("tensor", (4, 3, 5), (1, 60)), ("channel", (4, 3, 5), (4, 15)), ("group", (4, 3, 5), (8, 8))],
)
def test_rows_go_back_to_the_weight(granularity: str, shape: tuple[int, ...], rows: tuple[int, int]) -> None:
    weight = torch.arange(math.prod(shape), dtype=torch.float32).view(shape) + 1
    found = to_rows(weight, granularity, 8)
    assert found.shape == rows
    assert torch.equal(from_rows(found, weight), weight)
    if granularity == "group":
        assert found[1].tolist() == [9, 10, 11, 12, 13, 14, 15, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: get_quantizer("liner", 4), "'liner'. Did you mean linear"),
        (lambda: get_quantizer("apot", 4, symmetric=False), "'apot' has symmetric levels only"),
        (lambda: require_granularity("chanel"), "'chanel'. Did you mean channel"),
        (lambda: require_granularity("group", 1), "group_size is 1"),
        (lambda: fit_levels(get_quantizer("linear", 4), ROW, "ms"), "'ms'. Did you mean mse"),
    ],
)
def test_what_there_is_not_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        call()


HALVES = (torch.float16, torch.bfloat16)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", [*HALVES, torch.float64])
def test_linear_levels_of_other_dtypes_are_computed_in_float32(dtype: torch.dtype, symmetric: bool) -> None:
    quantizer = get_quantizer("linear", 8, symmetric)
    single = (torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) / 500).to(dtype).float()
    rows = single.to(dtype).requires_grad_()
    levels = quantizer.fit(rows)
    rounded = quantizer(rows, levels)
    expected = quantizer(single, Levels(*(part.float() for part in levels)))
    assert rounded.dtype == dtype
    assert torch.equal(rounded, expected.to(dtype))
    assert torch.allclose(quantizer.nearest(rows, levels), rounded, rtol=1e-6, atol=0)
    rounded.sum().backward()
    assert rows.grad is not None
    assert rows.grad.dtype == dtype
    assert set(rows.grad.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("dtype", [*HALVES, torch.float64])
def test_pact_of_other_dtypes_is_computed_in_float32(dtype: torch.dtype) -> None:
    x = torch.linspace(-1, 3, 40).to(dtype).requires_grad_()
    alpha = torch.tensor(2.0, dtype=dtype, requires_grad=True)
    y = pact(x, alpha, 4)
    assert y.dtype == dtype
    assert torch.equal(y, pact(x.detach().float(), torch.tensor(2.0), 4).to(dtype))
    y.sum().backward()
    assert x.grad is not None
    assert (x.grad.dtype, alpha.grad.dtype) == (dtype, dtype)  # type: ignore[union-attr]
    assert torch.equal(x.grad > 0, (x > 0) & (x < 2))
    assert float(alpha.grad) == int((x > 2).sum())  # type: ignore[arg-type]


def test_only_asymmetric_dynamic_levels_lie_anywhere() -> None:
    kinds = [(n, s) for n, kind in QUANTIZERS.items() for s in {True, not kind.can_be_asymmetric}]
    free = [(n, s) for n, s in kinds if get_quantizer(n, 4, s).free_offset]
    assert free == [("dynamic", False)]
