"""What the page of `lab pruning` computes from its rows: why some layers lose more than others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pithnet.labs.notebook import Row
from pithnet.labs.pruning.sparsity import rank_correlation

_MEASURES = {"kurtosis": "start_kurtosis", "standard deviation": "start_std", "number of weights": "size"}


def correlations(layers: list[Row]) -> dict[str, float]:
    """Spearman's rank correlation of sparsity with the kurtosis, std and size of the start's layers."""
    shares = [r["sparsity"] for r in layers]
    return {
        name: rank_correlation([float(r[key]) for r in layers], shares) for name, key in _MEASURES.items()
    }


def by_layer(row: Row) -> Row:
    """The layers of a row with the most and the fewest zeros, and what the shares of zeros go along with."""
    ordered, found = sorted(row["layers"], key=lambda r: r["sparsity"]), correlations(row["layers"])
    strongest = max(found, key=lambda name: abs(found[name]))
    said = {"most": ordered[:-4:-1], "fewest": ordered[:3], "count": len(ordered)}
    return said | {"correlations": found, "strongest": strongest}


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "by_layer": by_layer,
    "normal_within": lambda s: math.erf(s / math.sqrt(2)),
    "laplace_within": lambda s: 1 - math.exp(-s * math.sqrt(2)),
}
