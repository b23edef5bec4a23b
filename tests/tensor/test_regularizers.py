"""Regularizers by hand: values, what is convex, the registry and its errors; the laws do the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from pithnet.errors import RecipeError
from pithnet.tensor import REGULARIZERS, Regularizer, get_regularizer
from pithnet.tensor.regularizers import L1, KeepK, TrimmedL1

X = torch.tensor([[3.0, -4.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("l1", {}, 8.0),
        ("l0", {}, 3.0),
        ("keep-k", {"k": 3}, 0.0),
        ("keep-k", {"k": 2}, math.inf),
        ("keep-k", {"k": 1, "dim": 1}, math.inf),
        ("keep-k", {"k": 2, "dim": 0}, 0.0),
        ("keep-k-groups", {"k": 2, "dim": 1}, 0.0),
        ("keep-k-groups", {"k": 1, "dim": 1}, math.inf),
        ("trimmed-l1", {"k": 1}, 4.0),
        ("trimmed-l1", {"k": 1, "dim": 1}, 3.0),
        ("elastic-net", {"l1_ratio": 0.25}, 0.25 * 8 + 0.75 * 13),
        ("mcp", {"gamma": 2.0}, 1.0 + 1.0 + (1 - 0.25)),
        ("scad", {"a": 3.0}, 2.0 + 2.0 + 1.0),
        ("transformed-l1", {"a": 2.0}, 3 * 3 / 5 + 3 * 4 / 6 + 1.0),
        ("hoyer", {}, 8 / math.sqrt(26)),
        ("hoyer-square", {}, 64 / 26),
        ("hoyer-square", {"dim": 1}, 49 / 25 + 1.0),
        ("group-lasso", {"dim": 1}, math.sqrt(2) * 6),
        ("group-hoyer-square", {"dim": 1}, 36 / 26),
    ],
)
def test_values_by_hand(name: str, parameters: dict, expected: float) -> None:
    value = get_regularizer(name, **parameters).value(X)
    assert float(value) == pytest.approx(expected, rel=1e-12)
    scaled = get_regularizer(name, strength=2.5, **parameters)
    if name in ("mcp", "scad"):
        return  # their strength is also a place on the axis
    assert float(scaled.value(X)) == pytest.approx(2.5 * expected if expected else 0.0, rel=1e-12)


def test_a_table_of_values_covers_the_family() -> None:
    (marker,) = test_values_by_hand.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marker.args[1]} == set(REGULARIZERS)


@pytest.mark.parametrize("name", ["l1", "elastic-net", "group-lasso"])
def test_a_convex_value_lies_above_its_subgradient(name: str) -> None:
    r = get_regularizer(name, **({"dim": 1} if name == "group-lasso" else {}))
    g = torch.Generator().manual_seed(0)
    for x in (X, torch.zeros_like(X), torch.randn(3, 2, generator=g, dtype=torch.float64)):
        for _ in range(50):
            z = x + torch.randn(3, 2, generator=g, dtype=torch.float64)
            assert float(r.value(z)) >= float(r.value(x) + (r.subgradient(x) * (z - x)).sum()) - 1e-12


def test_hoyer_square_counts_and_ignores_the_scale() -> None:
    r = get_regularizer("hoyer-square")
    for n in (1, 3, 7):
        assert float(r.value(torch.cat([torch.full((n,), 0.3), torch.zeros(5)]))) == pytest.approx(n)
    assert float(r.value(17.0 * X)) == pytest.approx(float(r.value(X)))
    slope = r.subgradient(torch.tensor([3.0, 0.1]))
    assert slope[1] > 0 > slope[0], "the small one is pushed down, the large one up"


def test_penalties_that_fold_do_not_shrink_what_is_large() -> None:
    x = torch.tensor([10.0])
    kept = {n: float(get_regularizer(n).prox(x, 1.0)) for n in ("l1", "mcp", "scad", "l0", "elastic-net")}
    assert kept["l1"] == 9.0
    assert kept["elastic-net"] < 7.0
    assert kept["mcp"] == kept["scad"] == kept["l0"] == 10.0


def test_they_are_made_by_name_and_compare_by_value() -> None:
    assert get_regularizer("trimmed-l1", strength=0.2, k=3) == TrimmedL1(0.2, k=3)
    assert get_regularizer("l1") == L1(1.0)
    assert KeepK(k=3).is_constraint
    assert not L1().is_constraint


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_regularizer("l2"), r"unknown regularizer 'l2'. Known: elastic-net, group-"),
        (lambda: get_regularizer("deephoyer"), r"Did you mean hoyer"),
        (
            lambda: get_regularizer("l1", strenght=1.0),
            r"'l1' has no parameter 'strenght'. Did you mean strength\?",
        ),
        (lambda: get_regularizer("keep-k"), r"'keep-k' needs the parameter 'k'"),
        (lambda: get_regularizer("group-lasso"), r"'group-lasso' needs the parameter 'dim'"),
        (lambda: get_regularizer("trimmed-l1", k=-1), r"k is -1: use a whole number from 0 on"),
        (lambda: get_regularizer("elastic-net", l1_ratio=1.5), r"l1_ratio is 1.5, outside \[0, 1\]"),
        (lambda: get_regularizer("mcp", gamma=0.0), r"gamma is 0.0: use a finite number > 0"),
        (lambda: get_regularizer("scad", a=2.0), r"a is 2.0: SCAD needs more than 2"),
        (lambda: get_regularizer("transformed-l1", a=-1.0), r"a is -1.0: use a finite number > 0"),
        (lambda: get_regularizer("l1", strength=math.nan), r"strength is nan: use a finite number >= 0"),
    ],
)
def test_bad_parameters_are_refused(make: Callable[[], Regularizer], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()
