"""Every regularizer's prox minimises its objective and its subgradient is the derivative, whatever x."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import REGULARIZERS, Regularizer, get_regularizer

NAMES = sorted(REGULARIZERS)
PROX = [n for n in NAMES if REGULARIZERS[n].has_prox]
SMOOTH = [n for n in NAMES if REGULARIZERS[n].has_subgradient]
ELEMENTWISE = [n for n in PROX if not {"k", "dim"} & {f.name for f in fields(REGULARIZERS[n])}]
COUNTING = [n for n in PROX if "k" in {f.name for f in fields(REGULARIZERS[n])}]
GROUPED = {"group-lasso": "l1", "group-hoyer-square": "hoyer-square", "keep-k-groups": "keep-k"}
STEPS = [0.1, 0.7, 2.5, 6.0]

# A handful of values makes ties certain, signed zeros among them; arbitrary numbers find the rest.
numbers = st.one_of(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0]), st.floats(-4, 4))
strengths = st.floats(0.01, 3.0)
quick = settings(max_examples=15, deadline=None)


def make(name: str, strength: float = 0.8, **given: Any) -> Regularizer:
    """The regularizer with whatever it needs: k = 1, groups along the last axis."""
    needed = {"k": 1, "dim": -1} if name in GROUPED else {"k": 1}
    known = {f.name for f in fields(REGULARIZERS[name])}
    return get_regularizer(
        name, **{k: v for k, v in {"strength": strength, **needed, **given}.items() if k in known}
    )


def vectors(n: int) -> st.SearchStrategy[Tensor]:
    return st.lists(numbers, min_size=n, max_size=n).map(lambda v: torch.tensor(v, dtype=torch.float64))


def objective(r: Regularizer, z: Tensor, x: Tensor, step: float) -> float:
    return float((z - x).square().sum() / 2 + step * r.value(z))


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("step", STEPS)
def test_prox_of_one_number_is_the_best_of_a_fine_grid(name: str, step: float) -> None:
    r = make(name)
    grid = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    values = torch.stack([r.value(z) for z in grid])
    for x in [0.0, 0.05, 0.3, 0.79, 0.81, 1.0, 1.7, 2.4, 3.1, 4.6]:
        start = torch.tensor([x], dtype=torch.float64)
        z = r.prox(start, step)
        best = float(((grid - x).square() / 2 + step * values).min())
        assert objective(r, z, start, step) <= best + 1e-12
        assert torch.equal(r.prox(-start, step), -z)
        assert 0 <= float(z) <= x


@pytest.mark.parametrize("name", PROX)
@quick
@given(x=vectors(2), step=st.sampled_from(STEPS), strength=strengths, dim=st.sampled_from([0, 1]))
def test_no_point_of_the_plane_beats_the_prox(
    name: str, x: Tensor, step: float, strength: float, dim: int
) -> None:
    x = x.reshape(1, 2)  # over dim 0 two groups of one, over dim 1 one group of two
    r = make(name, strength, dim=dim) if name in GROUPED else make(name, strength)
    z = r.prox(x, step)
    cost = objective(r, z, x, step)
    assert math.isfinite(cost)
    axis = torch.linspace(-4, 4, 17, dtype=torch.float64)
    near = z + torch.randn(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.03
    on_axes = [torch.stack([a, z[0, 1]]) for a in axis] + [torch.stack([z[0, 0], a]) for a in axis]
    plane = [torch.stack(pair) for pair in itertools.product(axis, axis)]
    for other in (*plane, *on_axes, *near, x[0]):
        assert cost <= objective(r, other.reshape(1, 2), x, step) + 1e-12


@pytest.mark.parametrize("name", [n for n in PROX if not REGULARIZERS[n].is_constraint])
def test_a_solver_finds_nothing_better_in_six_dimensions(name: str) -> None:
    g = torch.Generator().manual_seed(len(name))
    x = torch.randn(2, 3, dtype=torch.float64, generator=g) * 1.5
    for step in STEPS[:3]:
        r = make(name, k=2)
        z = r.prox(x, step)

        def cost(v: Any, r: Regularizer = r, step: float = step) -> float:
            return objective(r, torch.tensor(v).reshape(2, 3), x, step)

        starts = (z, x, torch.zeros_like(x), torch.cat([x[:1], torch.zeros_like(x[1:])]))
        found = min(minimize(cost, s.flatten().numpy(), method="Powell").fun for s in starts)
        assert objective(r, z, x, step) <= found + 1e-9


@pytest.mark.parametrize("name", SMOOTH)
@quick
@given(seed=st.integers(0, 2**31), strength=strengths, k=st.integers(0, 12))
def test_the_subgradient_is_autograds_where_it_is_smooth(
    name: str, seed: int, strength: float, k: int
) -> None:
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2
    r = make(name, strength, k=k)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(r.value(x), x)
    torch.testing.assert_close(r.subgradient(x.detach()), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
@quick
@given(x=vectors(6))
def test_the_subgradient_leaves_zeros_where_they_are(name: str, x: Tensor) -> None:
    slope = make(name).subgradient(x.reshape(3, 2))
    assert bool(torch.isfinite(slope).all())
    assert not slope[x.reshape(3, 2) == 0].any()
    assert not make(name).subgradient(torch.zeros(3, 2)).any()


@pytest.mark.parametrize("name", NAMES)
@quick
@given(x=vectors(6), strength=strengths)
def test_values_are_scalars_from_zero_up(name: str, x: Tensor, strength: float) -> None:
    r = make(name, strength, k=3)
    value = r.value(x.reshape(3, 2))
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert float(value) >= 0
    assert float(r.value(torch.zeros(3, 2))) == 0


@pytest.mark.parametrize("name", PROX)
@quick
@given(x=vectors(6), step=st.floats(0, 5), strength=strengths, k=st.integers(0, 3))
def test_prox_shrinks_keeps_signs_and_the_input(
    name: str, x: Tensor, step: float, strength: float, k: int
) -> None:
    x = x.reshape(3, 2)
    before = x.clone()
    r = make(name, strength, k=k)
    z = r.prox(x, step)
    assert torch.equal(x, before)
    assert z.shape == x.shape
    assert z.dtype == x.dtype
    assert bool((z.abs() <= x.abs() + 1e-12).all())
    assert bool((z * x >= 0).all())
    assert not bool(torch.signbit(z[z == 0]).any()), "a negative zero came out"
    torch.testing.assert_close(r.prox(-x, step), -z, rtol=0, atol=0)
    if r.is_constraint:
        assert torch.equal(r.prox(z, step), z)
        assert float(r.value(z)) == 0
    else:
        torch.testing.assert_close(r.prox(x, 0.0), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.parametrize("k", [0, 1, 4, 6])
def test_between_equals_exactly_k_are_kept_and_the_lower_index_wins(name: str, k: int) -> None:
    x = torch.tensor([1.0, -1, 1, -1, -1, 1]).reshape(6, 1)
    z = make(name, 2.0, k=k).prox(x, 1.0)
    assert torch.equal(z, torch.where(torch.arange(6).reshape(6, 1) < k, x, 0.0))


@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.parametrize("k", [-1, 7, 1.5])
def test_a_k_beyond_the_numbers_is_refused(name: str, k: float) -> None:
    with pytest.raises(RecipeError, match=rf"k is {k}"):
        make(name, k=k).prox(torch.ones(6, 1), 1.0)


@pytest.mark.parametrize("name", GROUPED)
@quick
@given(x=vectors(5), step=st.floats(0, 3), strength=strengths)
@example(x=torch.tensor([-1, -1, -1, -1, 2e-313], dtype=torch.float64), step=0.0, strength=1.0)
def test_groups_of_one_are_the_element_version(name: str, x: Tensor, step: float, strength: float) -> None:
    grouped, single = make(name, strength, dim=1), make(GROUPED[name], strength)
    column = x.reshape(5, 1)
    torch.testing.assert_close(grouped.value(column), single.value(x))
    if grouped.has_prox:
        torch.testing.assert_close(grouped.prox(column, step).flatten(), single.prox(x, step))
    if grouped.has_subgradient:
        torch.testing.assert_close(grouped.subgradient(column).flatten(), single.subgradient(x))


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(GROUPED)))
@quick
@given(x=vectors(12), k=st.integers(0, 4), step=st.floats(0, 3))
def test_a_batch_is_what_its_rows_are(name: str, x: Tensor, k: int, step: float) -> None:
    rows = x.reshape(3, 4)
    batched, alone = make(name, k=k, dim=-1), make(name, k=k)
    if batched.has_prox:
        z = batched.prox(rows, step)
        assert torch.equal(z, torch.stack([alone.prox(row, step) for row in rows]))
        assert torch.equal(make(name, k=k, dim=0).prox(rows.T, step), z.T), "the axis is another, no more"
    if batched.has_subgradient:
        slopes = torch.stack([alone.subgradient(row) for row in rows])
        torch.testing.assert_close(batched.subgradient(rows), slopes)
    total = torch.stack([alone.value(row) for row in rows]).sum()
    torch.testing.assert_close(batched.value(rows), total)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [0.2, 1.5])
def test_single_precision_agrees_with_double(name: str, step: float) -> None:
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    r = make(name, 0.4, k=17)
    assert r.value(x).dtype == torch.float32
    torch.testing.assert_close(r.value(x).double(), r.value(x.double()), rtol=1e-5, atol=1e-5)
    if r.has_prox:
        torch.testing.assert_close(r.prox(x, step).double(), r.prox(x.double(), step), rtol=1e-4, atol=1e-5)
    if r.has_subgradient:
        torch.testing.assert_close(r.subgradient(x).double(), r.subgradient(x.double()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_lacks_it_says(name: str) -> None:
    r = make(name)
    x = torch.ones(2, 2)
    if not r.has_prox:
        with pytest.raises(RecipeError, match=f"'{name}' has no prox: use it as a loss term"):
            r.prox(x, 1.0)
    if not r.has_subgradient:
        with pytest.raises(RecipeError, match=f"'{name}' has no subgradient: take its proximal step"):
            r.subgradient(x)
    assert r.has_prox or r.has_subgradient


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_inf_are_refused(name: str, bad: float) -> None:
    r, x = make(name), torch.tensor([[1.0, bad], [bad, 2.0]])
    calls = [r.value]
    calls += [r.subgradient] if r.has_subgradient else []
    calls += [lambda x: r.prox(x, 1.0)] if r.has_prox else []
    for call in calls:
        with pytest.raises(ModelError, match="2 of 4 numbers are NaN or inf"):
            call(x)
    with pytest.raises(RecipeError, match=rf"strength is {-abs(bad)}: use a finite number >= 0"):
        make(name, strength=-abs(bad))


@pytest.mark.parametrize("name", NAMES)
def test_negative_strengths_and_steps_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"strength is -0.1: use a finite number >= 0"):
        make(name, strength=-0.1)
    if REGULARIZERS[name].has_prox:
        for step in (-0.1, math.nan, math.inf):
            with pytest.raises(RecipeError, match=rf"step is {step}: use a finite number >= 0"):
                make(name).prox(torch.ones(2, 2), step)
