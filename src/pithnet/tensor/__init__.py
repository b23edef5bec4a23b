"""Mathematics from tensors to tensors, apart from modules, training and files."""

from pithnet.tensor.clustering.entropy_constrained import ecsq_1d
from pithnet.tensor.clustering.kmeans import Clustering, kmeans_1d
from pithnet.tensor.integer_grid import integer_grid
from pithnet.tensor.pruning.aggregations import AGGREGATIONS, Aggregation
from pithnet.tensor.pruning.allocation import erk, uniform
from pithnet.tensor.pruning.channel_criteria import CHANNEL_CRITERIA, ChannelCriterion
from pithnet.tensor.pruning.criteria import CRITERIA, Criterion, criterion, get_criterion
from pithnet.tensor.pruning.evidence import EVIDENCE, Evidence
from pithnet.tensor.pruning.group_masks import group_mask, group_masks, n_of_m_mask
from pithnet.tensor.pruning.masks import global_masks, keep_mask, threshold_mask
from pithnet.tensor.pruning.thresholds import std_threshold
from pithnet.tensor.regularizers import REGULARIZERS, Regularizer, get_regularizer

__all__ = [
    "AGGREGATIONS",
    "CHANNEL_CRITERIA",
    "CRITERIA",
    "EVIDENCE",
    "REGULARIZERS",
    "Aggregation",
    "ChannelCriterion",
    "Clustering",
    "Criterion",
    "Evidence",
    "Regularizer",
    "criterion",
    "ecsq_1d",
    "erk",
    "get_criterion",
    "get_regularizer",
    "global_masks",
    "group_mask",
    "group_masks",
    "integer_grid",
    "keep_mask",
    "kmeans_1d",
    "n_of_m_mask",
    "std_threshold",
    "threshold_mask",
    "uniform",
]
