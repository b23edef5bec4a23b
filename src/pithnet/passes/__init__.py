"""Passes change a model in place and return a record of what they did."""

from pithnet.passes.bit_widths import average_bits
from pithnet.passes.gradual_pruning import RAMPS, GradualPruning
from pithnet.passes.granularities import GRANULARITIES, get_granularity
from pithnet.passes.layers import selected_layers
from pithnet.passes.level_training import LevelTraining, freeze_levels
from pithnet.passes.needs import Given, Need
from pithnet.passes.prune import prune, prune_by_std
from pithnet.passes.ptq.bias_repair import correct_biases
from pithnet.passes.ptq.block_rounding import reconstruct_blocks
from pithnet.passes.ptq.equalize import equalize
from pithnet.passes.ptq.label_free import quantize_without_labels
from pithnet.passes.ptq.norm_repair import match_norms, reestimate_norms
from pithnet.passes.ptq.priced_levels import PricedLevels
from pithnet.passes.ptq.reconstruct import reconstruct
from pithnet.passes.quantize import quantize
from pithnet.passes.records import Record
from pithnet.passes.registry import PASSES, forget, needs_of, pass_of, register
from pithnet.passes.regularized.regularization import Regularization, regularize
from pithnet.passes.scopes import SCOPES
from pithnet.passes.share import share
from pithnet.passes.shrinking.penalties import PENALTIES, GroupPenalty, StableChoice
from pithnet.passes.shrinking.plan import ShrinkPlan
from pithnet.passes.shrinking.shrink import plan_shrink, shrink
from pithnet.passes.shrinking.sparsity import ChannelSparsity
from pithnet.passes.sketch import LayerSketch, Sketch
from pithnet.passes.step import Pass

__all__ = [
    "GRANULARITIES",
    "PASSES",
    "PENALTIES",
    "RAMPS",
    "SCOPES",
    "ChannelSparsity",
    "Given",
    "GradualPruning",
    "GroupPenalty",
    "LayerSketch",
    "LevelTraining",
    "Need",
    "Pass",
    "PricedLevels",
    "Record",
    "Regularization",
    "ShrinkPlan",
    "Sketch",
    "StableChoice",
    "average_bits",
    "correct_biases",
    "equalize",
    "forget",
    "freeze_levels",
    "get_granularity",
    "match_norms",
    "needs_of",
    "pass_of",
    "plan_shrink",
    "prune",
    "prune_by_std",
    "quantize",
    "quantize_without_labels",
    "reconstruct",
    "reconstruct_blocks",
    "reestimate_norms",
    "register",
    "regularize",
    "selected_layers",
    "share",
    "shrink",
]
