"""Regularizers by name. A new regularizer is a class and a line in the list; the law test finds it."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from pithnet.errors import RecipeError, lookup, nearest
from pithnet.tensor.regularizers.base import Regularizer
from pithnet.tensor.regularizers.cardinality import KeepK, KeepKGroups, TrimmedL1
from pithnet.tensor.regularizers.elementwise import L0, L1, MCP, SCAD, ElasticNet, TransformedL1
from pithnet.tensor.regularizers.groups import GroupHoyerSquare, GroupLasso
from pithnet.tensor.regularizers.hoyer import Hoyer, HoyerSquare

_FAMILY: tuple[type[Regularizer], ...] = (
    L1,
    L0,
    KeepK,
    TrimmedL1,
    ElasticNet,
    MCP,
    SCAD,
    TransformedL1,
    Hoyer,
    HoyerSquare,
    GroupLasso,
    GroupHoyerSquare,
    KeepKGroups,
)
REGULARIZERS: dict[str, type[Regularizer]] = {kind.name: kind for kind in _FAMILY}


def regularizer_class(name: str) -> type[Regularizer]:
    """Returns the class of a regularizer.

    Args:
        name: A key of REGULARIZERS.

    Raises:
        RecipeError: The name is unknown; the message says the nearest ones.
    """
    return lookup("regularizer", name, REGULARIZERS, RecipeError)


def get_regularizer(name: str, **parameters: Any) -> Regularizer:
    """Returns a regularizer.

    An example is get_regularizer("trimmed-l1", strength=0.1, k=2).

    Args:
        name: A key of REGULARIZERS.
        **parameters: The fields of that regularizer.

    Raises:
        RecipeError: The name or a parameter is unknown (the message says the nearest ones), a parameter is
            missing, or a value is out of range.
    """
    kind = regularizer_class(name)
    known = {field.name: field for field in fields(kind)}
    for parameter in parameters:
        if parameter not in known:  # another regularizer may have it, so the message names this one
            raise RecipeError(f"{name!r} has no parameter {parameter!r}.{nearest(parameter, known)}")
    for parameter, field in known.items():
        if field.default is MISSING and parameter not in parameters:
            raise RecipeError(f"{name!r} needs the parameter {parameter!r}.")
    return kind(**parameters)
