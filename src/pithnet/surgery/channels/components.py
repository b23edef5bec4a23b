"""Which symbols go together: the connected components of a graph of pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def components(count: int, pairs: Sequence[Tensor]) -> Tensor:
    """Returns for each symbol the lowest one that it is connected with, int64 (count,).

    Args:
        count: How many symbols there are.
        pairs: Symbols that are connected, int64 (2, n) each.
    """
    labels = torch.arange(count)
    if not pairs:
        return labels
    one, other = torch.cat([part.reshape(2, -1) for part in pairs], 1)
    while True:
        first, second = labels[one], labels[other]
        apart = first != second
        if not bool(apart.any()):
            return labels
        one, other, first, second = one[apart], other[apart], first[apart], second[apart]
        labels = labels.scatter_reduce(0, torch.maximum(first, second), torch.minimum(first, second), "amin")
        while not torch.equal(labels, labels[labels]):
            labels = labels[labels]
