"""Solvers by name. A new solver is a class and a line in the list; the law test finds it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pithnet.errors import RecipeError, lookup, nearest
from pithnet.solvers.admm import Admm
from pithnet.solvers.base import Solver
from pithnet.solvers.descent import GradientDescent, Subgradient
from pithnet.solvers.proximal_gradient import Fista, Ista, ProjectedGradient

_FAMILY: tuple[type[Solver], ...] = (GradientDescent, Subgradient, ProjectedGradient, Ista, Fista, Admm)
SOLVERS: dict[str, type[Solver]] = {kind.name: kind for kind in _FAMILY}


def get_solver(name: str, **settings: Any) -> Solver:
    """Returns a solver by its name.

    An example is get_solver("fista", steps=500, tolerance=1e-8).

    Args:
        name: A key of SOLVERS.
        **settings: The fields of that solver.

    Raises:
        RecipeError: The name or a setting is unknown (the message says the nearest ones), or a value is out
            of range.
    """
    kind = lookup("solver", name, SOLVERS, RecipeError)
    known = {field.name for field in fields(kind)}
    for setting in settings:
        if setting not in known:  # another solver may have it, so the message names this one
            raise RecipeError(f"{name!r} has no setting {setting!r}.{nearest(setting, known)}")
    return kind(**settings)
