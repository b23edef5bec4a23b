"""What a pass did, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRecord:
    """One compressed layer; `levels`: number of distinct non-zero values, None where they are not shared."""

    name: str
    size: int
    zeros: int
    levels: int | None = None

    @property
    def sparsity(self) -> float:
        return self.zeros / self.size if self.size else 0.0


@dataclass(frozen=True)
class Record:
    """What a pass did: its name, and a row per layer it touched."""

    what: str
    layers: tuple[LayerRecord, ...]

    @property
    def sparsity(self) -> float:
        """Zeros among the weights of all the layers together."""
        size = sum(layer.size for layer in self.layers)
        return sum(layer.zeros for layer in self.layers) / size if size else 0.0
