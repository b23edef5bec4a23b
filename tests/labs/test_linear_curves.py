"""How fast the lasso's solvers are: the step from which each of them stays at the minimum."""

from __future__ import annotations

import pytest
import torch

from pithnet.labs.linear.curves import WITHIN, Curves, settled_at
from pithnet.labs.linear.design import Design

# Of the first design: the step from which a solver stays, and the step at which it first arrives.
KNOWN = {"subgradient": (None, None), "ista": (259, 259), "fista": (107, 79), "admm": (39, 34)}


@pytest.mark.parametrize(
    ("inside", "step"),
    [("0111", 1), ("1111", 0), ("0101", 3), ("1110", None), ("0000", None), ("0011", 2)],
)
def test_a_path_settles_after_the_last_step_outside(inside: str, step: int | None) -> None:
    assert settled_at(torch.tensor([c == "1" for c in inside])) == step


@pytest.mark.parametrize("solver", KNOWN)
def test_a_solver_is_there_from_the_step_after_which_it_stays(solver: str) -> None:
    """Exact on every processor: around each of these steps the gap is 1 % or more off the band's edge."""
    design = Design.draw(0)
    row = Curves(design).convergence(solver)
    stays, first = KNOWN[solver]
    assert (row["steps_to_the_minimum"], row["first_step_within"]) == (stays, first)
    band = WITHIN * float(design.problem.loss(design.problem.zeros()))
    if stays is None:
        assert row["gap"] > 1000 * band
    else:
        assert max(row["gaps"][stays:]) <= band < row["gaps"][stays - 1]
