"""Regularizers: terms that are added to a loss so that its minimum is sparse."""

from pithnet.tensor.regularizers.base import Regularizer
from pithnet.tensor.regularizers.cardinality import KeepK, KeepKGroups, TrimmedL1
from pithnet.tensor.regularizers.elementwise import L0, L1, MCP, SCAD, ElasticNet, TransformedL1
from pithnet.tensor.regularizers.groups import GroupHoyerSquare, GroupLasso, group_norms
from pithnet.tensor.regularizers.hoyer import Hoyer, HoyerSquare
from pithnet.tensor.regularizers.registry import REGULARIZERS, get_regularizer, regularizer_class

__all__ = [
    "L0",
    "L1",
    "MCP",
    "REGULARIZERS",
    "SCAD",
    "ElasticNet",
    "GroupHoyerSquare",
    "GroupLasso",
    "Hoyer",
    "HoyerSquare",
    "KeepK",
    "KeepKGroups",
    "Regularizer",
    "TransformedL1",
    "TrimmedL1",
    "get_regularizer",
    "group_norms",
    "regularizer_class",
]
