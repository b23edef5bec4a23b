"""Quantizers: weights to few levels, in codes, scales and offsets, with a gradient to train through."""

from pithnet.tensor.quantizers.activations import activation_grid, on_grid, pact
from pithnet.tensor.quantizers.base import MAX_BITS, Levels, Quantizer, require_bits
from pithnet.tensor.quantizers.fitting import FITS, fit_levels
from pithnet.tensor.quantizers.learned import AdditivePowers, LearnedStep
from pithnet.tensor.quantizers.registry import FAMILY, QUANTIZERS, get_quantizer
from pithnet.tensor.quantizers.rows import (
    GRANULARITIES,
    GROUP_SIZE,
    from_rows,
    require_granularity,
    to_rows,
)
from pithnet.tensor.quantizers.uniform import Dynamic, Fine, Linear

__all__ = [
    "FAMILY",
    "FITS",
    "GRANULARITIES",
    "GROUP_SIZE",
    "MAX_BITS",
    "QUANTIZERS",
    "AdditivePowers",
    "Dynamic",
    "Fine",
    "LearnedStep",
    "Levels",
    "Linear",
    "Quantizer",
    "activation_grid",
    "fit_levels",
    "from_rows",
    "get_quantizer",
    "on_grid",
    "pact",
    "require_bits",
    "require_granularity",
    "to_rows",
]
