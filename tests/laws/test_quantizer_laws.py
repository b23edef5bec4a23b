"""Every quantizer is idempotent, keeps zeros, errs by half a step at most, has 2^b levels, row by row."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pithnet.errors import RecipeError
from pithnet.tensor.quantizers import (
    FITS,
    QUANTIZERS,
    Levels,
    Quantizer,
    fit_levels,
    get_quantizer,
    to_rows,
)

KINDS = [
    (name, symmetric)
    for name in sorted(QUANTIZERS)
    for symmetric in (True, False)
    if symmetric or QUANTIZERS[name].can_be_asymmetric
]
FREE = [(name, symmetric) for name, symmetric in KINDS if get_quantizer(name, 4, symmetric).free_offset]
BITS = range(1, 9)

quick = settings(max_examples=25, deadline=None)
# Steps of numbers near the smallest normal one are subnormal: they have few digits, and processors that take
# them for zero round otherwise.
sizes = st.floats(-4, 4, width=32).map(lambda x: x if abs(x) > 2.0**-100 else 0.0)
numbers = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5]), sizes)
rows_of_numbers = st.lists(st.lists(numbers, min_size=6, max_size=6), min_size=1, max_size=4).map(
    lambda v: torch.tensor(v, dtype=torch.float32)
)


def weights(seed: int = 0) -> Tensor:
    """(6, 40), a quarter pruned, one row of zeros, one of a single value, one positive."""
    w = torch.randn(6, 40, generator=torch.Generator().manual_seed(seed))
    w[:, ::4] = 0
    w[1], w[2, 1:], w[3] = 0, 0, w[3].abs()
    return w


def levels_of(quantizer: Quantizer, levels: Levels) -> Tensor:
    """(R, n): all values that a row can take."""
    codes = torch.arange(quantizer.count, dtype=torch.float32)
    return quantizer.values(codes.expand(len(levels.scale), -1), levels)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("name", "symmetric"), KINDS)
@quick
@given(rows=rows_of_numbers, bits=st.sampled_from(BITS))
def test_rounding_twice_is_rounding_once(
    name: str, symmetric: bool, fit: str, rows: Tensor, bits: int
) -> None:
    quantizer = get_quantizer(name, bits, symmetric)
    levels = fit_levels(quantizer, rows, fit)
    once = quantizer(rows, levels)
    assert torch.equal(quantizer(once, levels), once)
    assert torch.equal(quantizer.nearest(rows, levels), once)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("name", "symmetric"), KINDS)
def test_zeros_stay_and_take_no_level(name: str, symmetric: bool, bits: int) -> None:
    quantizer, rows = get_quantizer(name, bits, symmetric), weights()
    rounded = quantizer(rows, fit_levels(quantizer, rows))
    assert not rounded[rows == 0].any()
    assert not torch.signbit(rounded[rows == 0]).any()
    assert all(row[row != 0].unique().numel() <= 2**bits for row in rounded)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("name", "symmetric"), KINDS)
def test_within_the_levels_the_error_is_half_a_step_at_most(
    name: str, symmetric: bool, bits: int, fit: str
) -> None:
    quantizer, rows = get_quantizer(name, bits, symmetric), weights()
    levels = fit_levels(quantizer, rows, fit)
    rounded = quantizer(rows, levels)
    for row, new, values in zip(rows, rounded, levels_of(quantizer, levels), strict=True):
        steps = torch.tensor([0.0, *(float(b - a) for a, b in pairwise(values))])
        inside = (row >= values[0]) & (row <= values[-1]) & (row != 0)
        assert bool(((new - row).abs()[inside] <= steps.max() / 2 + 1e-6).all())
        nearest = values[(row[:, None] - values).abs().argmin(1)]
        assert torch.allclose((new - row).abs()[row != 0], (nearest - row).abs()[row != 0], atol=1e-6)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("name", "symmetric"), KINDS)
def test_channels_are_quantized_as_if_each_were_alone(name: str, symmetric: bool, bits: int) -> None:
    quantizer, weight = get_quantizer(name, bits, symmetric), weights().view(6, 4, 5, 2)
    rows = to_rows(weight, "channel")
    together = quantizer(rows, fit_levels(quantizer, rows, "mse"))
    for channel, found in zip(weight, together, strict=True):
        alone = to_rows(channel[None], "tensor")
        assert torch.equal(quantizer(alone, fit_levels(quantizer, alone, "mse"))[0], found)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("name", "symmetric"), KINDS)
def test_least_squares_is_no_worse_than_the_range(name: str, symmetric: bool, bits: int) -> None:
    quantizer, rows = get_quantizer(name, bits, symmetric), weights()
    errors = [
        (quantizer.nearest(rows, fit_levels(quantizer, rows, fit)) - rows).square().sum(1) for fit in FITS
    ]
    assert bool((errors[1] <= errors[0] * 1.02 + 1e-9).all())


@pytest.mark.parametrize("bits", range(1, 6))  # above, the search's widths are finer than what is left
@pytest.mark.parametrize(("name", "symmetric"), FREE)
def test_levels_that_may_lie_anywhere_are_the_best_line_through_their_weights(
    name: str, symmetric: bool, bits: int
) -> None:
    quantizer = get_quantizer(name, bits, symmetric)
    rows = torch.randn(6, 300, generator=torch.Generator().manual_seed(1)) + 0.3
    rows[:, ::4] = 0  # pruned: the levels are for the others
    levels = fit_levels(quantizer, rows, "mse")
    kept = rows != 0
    errors = torch.where(kept, quantizer.nearest(rows, levels) - rows, 0.0)
    codes = quantizer.codes(rows, levels)
    # Neither another offset nor another scale helps: the errors know nothing of the codes.
    assert float(errors.mean(1).abs().max()) < 0.02 * float(levels.scale.max())
    assert float((errors * codes).mean(1).abs().max()) < 0.05 * float(levels.scale.max())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("name", "symmetric"), KINDS)
def test_more_bits_lose_less(name: str, symmetric: bool, bits: int) -> None:
    if bits == 8:
        return
    rows = weights()
    errors = []
    for b in (bits, bits + 1):
        quantizer = get_quantizer(name, b, symmetric)
        errors.append(
            float((quantizer.nearest(rows, fit_levels(quantizer, rows, "mse")) - rows).square().sum())
        )
    assert errors[1] <= errors[0] * 1.0001


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("name", "symmetric"), KINDS)
def test_what_a_file_keeps_is_close_whole_multiples_and_lasts(name: str, symmetric: bool, bits: int) -> None:
    quantizer, rows = get_quantizer(name, bits, symmetric), weights()
    levels = fit_levels(quantizer, rows)
    stored = quantizer.stored(levels)
    values, kept = levels_of(quantizer, levels), levels_of(quantizer, stored)
    parts = quantizer.parts or 1
    room = values.abs().amax(1) * 2.0**-11 + (levels.scale / parts / 2 if quantizer.parts else 0)
    assert bool(((values - kept).abs().amax(1) <= room + 1e-6).all())
    unit = stored.scale / parts / (2 if bits == 1 else 1)
    whole = kept[unit > 0] / unit[unit > 0, None]
    assert torch.equal(whole, whole.round())
    once = quantizer.nearest(rows, stored)
    assert torch.equal(quantizer.nearest(once, stored), once)


@pytest.mark.parametrize(("name", "symmetric"), KINDS)
def test_the_gradient_passes_straight_inside_the_levels(name: str, symmetric: bool) -> None:
    quantizer = get_quantizer(name, 4, symmetric)
    rows = weights()[:1].requires_grad_()
    levels = fit_levels(quantizer, rows, "mse")
    values = levels_of(quantizer, levels)
    quantizer(rows, levels).sum().backward()
    inside = (rows > values.min()) & (rows < values.max())
    assert rows.grad is not None
    assert torch.allclose(rows.grad[inside], torch.ones(int(inside.sum())))


@pytest.mark.parametrize("name", sorted(QUANTIZERS))
def test_no_bits_are_zeros_and_other_numbers_are_refused(name: str) -> None:
    quantizer, rows = get_quantizer(name, 0), weights().requires_grad_()
    rounded = quantizer(rows, quantizer.fit(rows))
    rounded.sum().backward()
    assert not rounded.any()
    assert rows.grad is not None
    assert bool((rows.grad == 1).all())
    for bits in (-1, 9, 2.5, True):
        with pytest.raises(RecipeError, match=r"bits must be from 1 to 8, 0 for zeros .* not "):
            get_quantizer(name, bits)  # type: ignore[arg-type]
