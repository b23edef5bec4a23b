"""A way to quantize without training, as data, and carried out on a copy of a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from pithnet.passes import average_bits, correct_biases, equalize, quantize, share

LINEAR, CODEBOOK, POWERS = "linear", "codebook", "powers of two"
EQUALIZED, BIASES = "equalized", "biases corrected"


@dataclass(frozen=True)
class Scheme:
    """A way to quantize. `levels` are LINEAR, CODEBOOK (k-means, per tensor) or POWERS; None bits are float.

    `fit` is "range" or "mse", as `quantize` has it. Of `mixed` bits `weights` is the average, spent where it
    helps most. `repair` is EQUALIZED, BIASES or "".
    """

    weights: int | None
    activations: int | None = None
    granularity: str = "channel"
    symmetric: bool = True
    levels: str = LINEAR
    fit: str = "range"
    observer: str = "mse"
    mixed: bool = False
    repair: str = ""

    @property
    def what(self) -> str:
        """The scheme's name, such as 'weights 4 bits per channel, activations 8 bits by mse'."""
        parts = ["weights float" if self.weights is None else f"weights {self._weights}"]
        if self.activations is not None:
            parts.append(f"activations {self.activations} bits by {self.observer}")
        return ", ".join([*parts, *([self.repair] if self.repair else [])])

    @property
    def _weights(self) -> str:
        bits = f"<= {self.weights} bits mixed" if self.mixed else f"{self.weights} bits"
        levels = {LINEAR: "" if self.symmetric else "asymmetric", CODEBOOK: "by k-means", POWERS: "of powers"}
        fit = "of least error" if self.fit == "mse" and self.levels == LINEAR else ""
        return " ".join(filter(None, (bits, f"per {self.granularity}", levels[self.levels], fit)))

    def columns(self) -> dict[str, Any]:
        """Returns what a row says of the scheme."""
        observer = self.observer if self.activations else None
        return asdict(self) | {"observer": observer, "repair": self.repair or None}

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of `quantize` for the weights."""
        apot = self.levels == POWERS
        return {
            "quantizer": "apot" if apot else "linear",
            "granularity": self.granularity,
            "symmetric": self.symmetric,
            "fit": self.fit,
        }

    def apply(self, folded: nn.Module, images: Tensor, bits: Mapping[str, int] | None = None) -> Simulated:
        """Quantizes a copy of a network with BN folded; images (N, ...) calibrate; `bits` are by layer."""
        before = copy.deepcopy(folded)
        if self.repair == EQUALIZED:
            equalize(before)
        model = copy.deepcopy(before)
        if self.levels == CODEBOOK:
            share(model, self.weights)
        else:
            quantize(
                model,
                None if self.mixed else self.weights,
                overrides=bits if self.mixed else None,
                activations=self.activations,
                observer=self.observer,
                calibrate=images,
                **self.arguments(),
            )
        if self.repair == BIASES:
            correct_biases(model, before, images)
        return Simulated(model, before)

    def bits_per_weight(self, model: nn.Module) -> float:
        """Counts the bits of a weight in the model that `apply` made, without scales and codebooks."""
        return float(self.weights) if self.levels == CODEBOOK and self.weights else average_bits(model)


class Simulated(NamedTuple):
    """A quantized model, and the float one that has the weights it was rounded from."""

    model: nn.Module
    before: nn.Module


HOUSE = Scheme(8, 8)
SOURCE = Scheme(8, 8, "tensor")
