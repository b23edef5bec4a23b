"""The only room that touches the structure of a network."""

from pithnet.surgery.finalize import Storage, finalize, fold_batchnorm_
from pithnet.surgery.parametrizations import (
    PARAMETRIZATIONS,
    Codebook,
    Mask,
    TrainedLevels,
    Weighted,
    latent_weight,
    parametrization,
    release,
    restore,
    set_codebook,
    set_mask,
    set_trained_levels,
    shared_parameters,
    weighted_layers,
)

__all__ = [
    "PARAMETRIZATIONS",
    "Codebook",
    "Mask",
    "Storage",
    "TrainedLevels",
    "Weighted",
    "finalize",
    "fold_batchnorm_",
    "latent_weight",
    "parametrization",
    "release",
    "restore",
    "set_codebook",
    "set_mask",
    "set_trained_levels",
    "shared_parameters",
    "weighted_layers",
]
