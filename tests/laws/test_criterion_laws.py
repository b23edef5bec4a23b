"""What holds for every criterion: it reads what it declares, scores zeros lowest, and forgets scales."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pithnet.errors import ModelError, RecipeError
from pithnet.tensor import CRITERIA, EVIDENCE, Evidence, get_criterion, keep_mask

NAMES = sorted(CRITERIA)
OF_WEIGHTS = [name for name in NAMES if CRITERIA[name].looks_at_weight]
REPEATING = [name for name in NAMES if "generator" not in CRITERIA[name].needs]
MEASURED = [need for need in EVIDENCE if need not in ("weight", "generator")]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# A handful of values makes ties certain, signed zeros among them; arbitrary floats find the rest.
tied = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0])
wide = st.floats(allow_nan=False, allow_infinity=False, width=16)
seeds = st.integers(0, 2**31)
quick = settings(max_examples=25, deadline=None)


@st.composite
def weights(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    element = draw(st.sampled_from([tied, wide]))
    flat = draw(st.lists(element, min_size=math.prod(shape), max_size=math.prod(shape)))
    return torch.tensor(flat, dtype=draw(st.sampled_from(DTYPES))).reshape(shape)


def given_for(weight: Tensor, seed: int = 0) -> dict[str, Any]:
    """Positive numbers for every kind of evidence, all different."""
    g = torch.Generator().manual_seed(seed)
    return {need: torch.rand(weight.shape, generator=g) + 0.1 for need in MEASURED}


def scores(name: str, weight: Tensor, seed: int = 5, **evidence: Any) -> Tensor:
    return get_criterion(name)(Evidence(weight, generator=torch.Generator().manual_seed(seed), **evidence))


@pytest.mark.parametrize("name", NAMES)
@quick
@given(weight=weights(), seed=seeds)
def test_scores_are_finite_and_repeatable(name: str, weight: Tensor, seed: int) -> None:
    before, evidence = weight.clone(), given_for(weight, seed)
    found = scores(name, weight, **evidence)
    assert found.shape == weight.shape
    assert bool(torch.isfinite(found).all())
    assert bool((found >= 0).all())
    assert torch.equal(found, scores(name, weight, **given_for(weight, seed)))
    assert torch.equal(weight, before)
    assert all(torch.equal(evidence[need], value) for need, value in given_for(weight, seed).items())
    assert int(keep_mask(found, weight.numel() // 2).sum()) == weight.numel() - weight.numel() // 2


@pytest.mark.parametrize("name", OF_WEIGHTS)
@quick
@given(weight=weights(), fraction=st.floats(0, 1))
def test_all_else_being_equal_the_small_weights_of_a_tensor_go(
    name: str, weight: Tensor, fraction: float
) -> None:
    zeros = round(fraction * weight.numel())
    alike = {need: torch.ones(weight.shape) for need in MEASURED}
    assert torch.equal(keep_mask(scores(name, weight, **alike), zeros), keep_mask(weight.abs(), zeros))


@pytest.mark.parametrize("name", OF_WEIGHTS)
@quick
@given(weight=weights(), seed=seeds)
def test_a_zero_scores_zero(name: str, weight: Tensor, seed: int) -> None:
    assert not scores(name, weight, **given_for(weight, seed))[weight == 0].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scaled", ["weight", *MEASURED])
def test_no_unit_of_measurement_changes_the_order(name: str, scaled: str) -> None:
    weight = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    evidence = given_for(weight)
    before = scores(name, weight, **evidence).flatten().argsort(stable=True)
    # A power of two: every product and quotient is scaled exactly.
    if scaled == "weight":
        weight = weight * 2.0**-9
    else:
        evidence[scaled] = evidence[scaled] * 2.0**-9
    assert torch.equal(scores(name, weight, **evidence).flatten().argsort(stable=True), before)


@pytest.mark.parametrize("name", REPEATING)
def test_a_score_belongs_to_its_weight_wherever_it_stands(name: str) -> None:
    weight = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    evidence, order = given_for(weight), torch.randperm(40, generator=torch.Generator().manual_seed(1))
    moved = scores(name, weight[order], **{need: value[order] for need, value in evidence.items()})
    assert torch.equal(moved, scores(name, weight, **evidence)[order])


@pytest.mark.parametrize("name", NAMES)
def test_a_sign_does_not_matter(name: str) -> None:
    weight = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    evidence = given_for(weight)
    assert torch.equal(scores(name, -weight, **evidence), scores(name, weight, **evidence))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_declared_does_not_matter_and_cannot_be_read(name: str) -> None:
    weight = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    needs, evidence = CRITERIA[name].needs, given_for(weight)
    declared = {need: value for need, value in evidence.items() if need in needs}
    assert torch.equal(scores(name, weight, **declared), scores(name, weight, **evidence))
    opened = Evidence(weight, **evidence).opened_for(name, needs)
    assert needs <= set(EVIDENCE)
    for need in EVIDENCE:
        if need in needs:
            getattr(opened, need)
            continue
        with pytest.raises(RecipeError, match=f"'{name}' reads the {need} of a weight without declaring it"):
            getattr(opened, need)


@pytest.mark.parametrize(
    ("name", "need"), [(n, need) for n in NAMES for need in CRITERIA[n].needs & set(MEASURED)]
)
def test_what_is_declared_and_not_given_is_asked_for(name: str, need: str) -> None:
    weight = torch.ones(2, 3)
    others = {key: value for key, value in given_for(weight).items() if key != need}
    with pytest.raises(RecipeError, match=rf"'{name}' needs the {need} of every weight: give batches="):
        scores(name, weight, **others)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_nan_and_inf_are_refused(name: str, bad: float) -> None:
    spoilt, ones = torch.tensor([1.0, bad, bad, 2.0]), torch.ones(4)
    with pytest.raises(ModelError, match=rf"{name}: weight: 2 of 4 numbers are NaN or inf"):
        scores(name, spoilt, **given_for(ones))
    for need in CRITERIA[name].needs & set(MEASURED):
        with pytest.raises(ModelError, match=rf"{name}: {need}: 2 of 4 numbers are NaN or inf"):
            scores(name, ones, **{**given_for(ones), need: spoilt})
