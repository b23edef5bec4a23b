"""Passes change a model in place and return a record of what they did."""

from pithnet.passes.layers import selected_layers
from pithnet.passes.prune import RAMPS, SCOPES, GradualPruning, prune, prune_by_std
from pithnet.passes.records import LayerRecord, Record
from pithnet.passes.share import LevelTraining, freeze_levels, share

__all__ = [
    "RAMPS",
    "SCOPES",
    "GradualPruning",
    "LayerRecord",
    "LevelTraining",
    "Record",
    "freeze_levels",
    "prune",
    "prune_by_std",
    "selected_layers",
    "share",
]
