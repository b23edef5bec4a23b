"""Passes change a model in place and return a record of what they did."""

from pithnet.passes.bias_repair import correct_biases
from pithnet.passes.bit_widths import average_bits
from pithnet.passes.block_rounding import reconstruct_blocks
from pithnet.passes.equalize import equalize
from pithnet.passes.label_free import quantize_without_labels
from pithnet.passes.layers import selected_layers
from pithnet.passes.mixed_precision import allocate_bits, divergence, sensitivity
from pithnet.passes.norm_repair import match_norms, reestimate_norms
from pithnet.passes.prune import RAMPS, SCOPES, GradualPruning, prune, prune_by_std
from pithnet.passes.quantize import quantize
from pithnet.passes.reconstruct import reconstruct
from pithnet.passes.records import LayerRecord, Record
from pithnet.passes.regularize import Regularization, regularize
from pithnet.passes.share import LevelTraining, freeze_levels, share

__all__ = [
    "RAMPS",
    "SCOPES",
    "GradualPruning",
    "LayerRecord",
    "LevelTraining",
    "Record",
    "Regularization",
    "allocate_bits",
    "average_bits",
    "correct_biases",
    "divergence",
    "equalize",
    "freeze_levels",
    "match_norms",
    "prune",
    "prune_by_std",
    "quantize",
    "quantize_without_labels",
    "reconstruct",
    "reconstruct_blocks",
    "reestimate_norms",
    "regularize",
    "selected_layers",
    "sensitivity",
    "share",
]
