"""The only room that touches the structure of a network."""

from pithnet.surgery.channels.agreement import require_agreement
from pithnet.surgery.channels.coupling import find_channels
from pithnet.surgery.channels.fitting import Fit, fitting
from pithnet.surgery.channels.groups import Channels, Group
from pithnet.surgery.channels.slicing import (
    cut_channels,
    cut_channels_,
    mask_channels,
    mask_channels_,
    uncuttable,
)
from pithnet.surgery.channels.untold import Untold, layer_widths, untold_of
from pithnet.surgery.graph.activation_quantizers import ActivationQuantizer, LearnedClip
from pithnet.surgery.graph.costs import Cost, Costs, costs
from pithnet.surgery.graph.folding import Folding, fold_into_layers_, norms_after_layers
from pithnet.surgery.graph.insertion import activation_quantizers, insert_activation_quantizers_
from pithnet.surgery.graph.relus import relu_zeros
from pithnet.surgery.modes import evaluating, frozen_modules, train_
from pithnet.surgery.rollback import unchanged_on_error
from pithnet.surgery.weights.chains import (
    attach,
    chain,
    latent_weight,
    parametrization,
    release,
    release_all,
    set_codebook,
    set_mask,
    set_trained_levels,
    shared_parameters,
)
from pithnet.surgery.weights.coverage import Coverage, LeftOut, coverage
from pithnet.surgery.weights.fake_quantizers import FakeQuantizer
from pithnet.surgery.weights.finalize import Storage, finalize, fold_batchnorm_
from pithnet.surgery.weights.holders import Weighted, held_tensors, other_matrices, weighted_layers
from pithnet.surgery.weights.kinds import register_kind
from pithnet.surgery.weights.parametrizations import PARAMETRIZATIONS, Codebook, Mask, TrainedLevels
from pithnet.surgery.weights.restore import restore
from pithnet.surgery.weights.ties import conflicting_tie
from pithnet.surgery.weights.trainable import parametrize_
from pithnet.surgery.weights.unsupported import Refusal, check_usable, refusals, uninitialized
from pithnet.surgery.weights.weight_quantization import (
    fake_quantizer,
    set_fake_quantizer,
    set_latent_weight,
    unquantized_weight,
)
from pithnet.surgery.widening import in_float32
from pithnet.surgery.wrappers import plain_key, unwrapped

__all__ = [
    "PARAMETRIZATIONS",
    "ActivationQuantizer",
    "Channels",
    "Codebook",
    "Cost",
    "Costs",
    "Coverage",
    "FakeQuantizer",
    "Fit",
    "Folding",
    "Group",
    "LearnedClip",
    "LeftOut",
    "Mask",
    "Refusal",
    "Storage",
    "TrainedLevels",
    "Untold",
    "Weighted",
    "activation_quantizers",
    "attach",
    "chain",
    "check_usable",
    "conflicting_tie",
    "costs",
    "coverage",
    "cut_channels",
    "cut_channels_",
    "evaluating",
    "fake_quantizer",
    "finalize",
    "find_channels",
    "fitting",
    "fold_batchnorm_",
    "fold_into_layers_",
    "frozen_modules",
    "held_tensors",
    "in_float32",
    "insert_activation_quantizers_",
    "latent_weight",
    "layer_widths",
    "mask_channels",
    "mask_channels_",
    "norms_after_layers",
    "other_matrices",
    "parametrization",
    "parametrize_",
    "plain_key",
    "refusals",
    "register_kind",
    "release",
    "release_all",
    "relu_zeros",
    "require_agreement",
    "restore",
    "set_codebook",
    "set_fake_quantizer",
    "set_latent_weight",
    "set_mask",
    "set_trained_levels",
    "shared_parameters",
    "train_",
    "unchanged_on_error",
    "uncuttable",
    "uninitialized",
    "unquantized_weight",
    "untold_of",
    "unwrapped",
    "weighted_layers",
]
