"""What a pass will do, and what it did, layer by layer: a plan and a record are made of the same rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRow:
    """One layer after a pass.

    Attributes:
        name: The layer's name in the network.
        size: The number of its weights.
        zeros: How many of them are zero.
        levels: The number of distinct non-zero values, of a quantized layer those that share a step; None
            where weights stay floats.
        own_zeros: How many zeros a regularized training had made by itself before the mask was drawn.
        zero_groups: Which filters or channels are gone as a whole; None where single weights or
            kernels were pruned.
        bits: The bits of a quantizer's code; None where there is no quantizer.
        outputs: How many outputs are left; None where no channels were removed.
    """

    name: str
    size: int
    zeros: int
    levels: int | None = None
    own_zeros: int | None = None
    zero_groups: tuple[int, ...] | None = None
    bits: int | None = None
    outputs: int | None = None

    @property
    def sparsity(self) -> float:
        """The share of zeros, in [0, 1]."""
        return self.zeros / self.size if self.size else 0.0
