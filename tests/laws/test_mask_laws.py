"""A mask has exactly k zeros and they are the lowest scores, whatever the scores, ties included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import (
    erk,
    global_masks,
    keep_mask,
    std_threshold,
    threshold_mask,
    uniform,
)

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# A handful of values makes ties certain, signed zeros among them; arbitrary floats find the rest.
tied = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0])
wide = st.floats(allow_nan=False, allow_infinity=False, width=16)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
fractions = st.floats(0.0, 1.0)


@st.composite
def tensors(draw: st.DrawFn, numbers: st.SearchStrategy[float] | None = None) -> Tensor:
    shape = draw(shapes)
    element = numbers if numbers is not None else draw(st.sampled_from([tied, wide]))
    flat = draw(st.lists(element, min_size=math.prod(shape), max_size=math.prod(shape)))
    return torch.tensor(flat, dtype=draw(st.sampled_from(DTYPES))).reshape(shape)


def lowest_by_stable_sort(flat: np.ndarray, zeros: int) -> np.ndarray:
    mask = np.ones(len(flat), dtype=bool)
    mask[np.argsort(flat, kind="stable")[:zeros]] = False
    return mask


@given(tensors(), fractions)
def test_keep_mask_is_a_stable_sort_cut_at_k(scores: Tensor, fraction: float) -> None:
    zeros = round(fraction * scores.numel())
    mask = keep_mask(scores, zeros)
    assert mask.dtype == torch.bool
    assert mask.shape == scores.shape
    assert int((~mask).sum()) == zeros
    expected = lowest_by_stable_sort(scores.double().flatten().numpy(), zeros)
    assert np.array_equal(mask.flatten().numpy(), expected)


@given(st.lists(tensors(), min_size=1, max_size=5), fractions)
def test_global_masks_are_one_ranking_cut_at_k(scores: list[Tensor], fraction: float) -> None:
    zeros = round(fraction * sum(score.numel() for score in scores))
    masks = global_masks(scores, zeros)
    assert [mask.shape for mask in masks] == [score.shape for score in scores]
    joint = np.concatenate([score.double().flatten().numpy() for score in scores])
    flat = np.concatenate([mask.flatten().numpy() for mask in masks])
    assert np.array_equal(flat, lowest_by_stable_sort(joint, zeros))


@given(tensors(), st.floats(0.0, 4.0))
def test_threshold_mask_keeps_what_is_larger(weight: Tensor, threshold: float) -> None:
    assert np.array_equal(
        threshold_mask(weight, threshold).numpy(), np.abs(weight.double().numpy()) > threshold
    )


@given(tensors(), st.floats(0.0, 3.0))
def test_std_threshold_is_s_population_deviations(weight: Tensor, s: float) -> None:
    expected = s * np.std(weight.double().numpy())
    assert std_threshold(weight, s) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "call",
    [
        lambda w: keep_mask(w, 1),
        lambda w: global_masks([torch.zeros(2), w], 1),
        lambda w: threshold_mask(w, 0.5),
        lambda w: std_threshold(w, 0.5),
    ],
)
def test_nan_and_inf_are_refused(call, bad: float) -> None:  # type: ignore[no-untyped-def]
    weight = torch.tensor([1.0, bad, bad, 2.0])
    with pytest.raises(ModelError, match="2 of 4 numbers are NaN or inf"):
        call(weight)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20), fractions)
def test_uniform_allocation_is_exact_and_even(sizes: list[int], sparsity: float) -> None:
    zeros = uniform(sizes, sparsity)
    total = round(sparsity * sum(sizes))
    assert sum(zeros) == total
    for size, count in zip(sizes, zeros, strict=True):
        assert 0 <= count <= size
        assert abs(count - size * total / max(sum(sizes), 1)) <= 1.0


kernels = st.one_of(
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.tuples(st.integers(1, 32), st.integers(1, 32), st.integers(1, 5), st.integers(1, 5)),
)


@settings(deadline=None)
@given(st.lists(kernels, min_size=1, max_size=12), fractions)
def test_erk_is_exact_and_proportional_below_dense(layers: list[tuple[int, ...]], sparsity: float) -> None:
    zeros = erk(layers, sparsity)
    sizes = [math.prod(shape) for shape in layers]
    assert sum(zeros) == round(sparsity * sum(sizes))
    assert all(0 <= count <= size for count, size in zip(zeros, sizes, strict=True))
    kept = [size - count for size, count in zip(sizes, zeros, strict=True)]
    # One scale for all: kept = min(size, scale * sum(shape)), each rounded by less than one weight.
    low = max((max(keep - 1, 0) / sum(shape) for keep, shape in zip(kept, layers, strict=True)), default=0.0)
    for keep, size, shape in zip(kept, sizes, layers, strict=True):
        assert keep + 1 >= min(size, low * sum(shape)) - 1e-9


@pytest.mark.parametrize("call", [lambda s: uniform([10], s), lambda s: erk([(2, 5)], s)])
@pytest.mark.parametrize("sparsity", [-0.1, 1.1, 70.0, math.nan])
def test_sparsity_outside_0_1_is_refused(call, sparsity: float) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RecipeError, match=r"outside \[0, 1\]: write 70 % as 0\.7"):
        call(sparsity)
