"""What a pass did, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from pithnet.results import LayerRow
from pithnet.surgery import Coverage, coverage


@dataclass(frozen=True)
class Record:
    """What a pass did: its name, a row per layer that it touched, and what of the network is compressed.

    Attributes:
        what: The pass and its settings in a few words.
        layers: A row for each layer that the pass touched.
        coverage: What of the network is compressed afterwards.
        norms_in_float: Where activations were quantized, the BNs that were not folded, and why, by name.
        unread: The layers left in float because the network's forward does not read their weights.
    """

    what: str
    layers: tuple[LayerRow, ...]
    coverage: Coverage | None = None
    norms_in_float: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: nn.Module, what: str, layers: Iterable[LayerRow], skip: Sequence[str] = ()) -> Record:
        """Makes the record of a pass over `model`, which it has changed already."""
        return cls(what, tuple(layers), coverage(model, skip))

    @property
    def sparsity(self) -> float:
        """Zeros among the weights of all the layers together."""
        size = sum(layer.size for layer in self.layers)
        return sum(layer.zeros for layer in self.layers) / size if size else 0.0

    def __str__(self) -> str:
        """A line for the pass, each layer and each BN in float, and what would cover the rest if much."""
        covered = ""
        if self.coverage is not None:
            covered = f"; {100 * self.coverage.share:.1f} % of the network's parameters are compressed"
        lines = [f"{self.what}: {100 * self.sparsity:.2f} % zeros{covered}"]
        for layer in self.layers:
            coded = "" if layer.levels is None else f", {layer.levels} levels"
            bits = "" if layer.bits is None else f", {layer.bits} bits"
            lines.append(f"  {layer.name}: {layer.zeros:,} of {layer.size:,} zeros{coded}{bits}")
        lines += [f"  {name} stays in float: {why}" for name, why in self.norms_in_float.items()]
        if self.unread:
            lines.append(f"  left in float, the network never reads them: {', '.join(self.unread)}")
        if self.coverage is not None and self.coverage.advice is not None:
            lines.append(self.coverage.advice)
        return "\n".join(lines)
