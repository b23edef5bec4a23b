"""The ways to quantize that `lab fixed-point` compares: which levels, how many bits, in which layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from pithnet.labs.notebook import Row
from pithnet.passes import quantize
from pithnet.surgery import weighted_layers

SOURCE, OURS, SYMMETRIC, WITH_ZERO = "source", "ours", "symmetric", "symmetric with zero"
LEVELS: Mapping[str, Mapping[str, Any]] = {
    SOURCE: {"quantizer": "dynamic", "granularity": "tensor", "fit": "range"},
    OURS: {"quantizer": "lsq", "granularity": "channel", "fit": "mse"},
    SYMMETRIC: {"quantizer": "dynamic", "granularity": "tensor", "symmetric": True, "fit": "range"},
    WITH_ZERO: {"quantizer": "linear", "granularity": "tensor", "symmetric": True, "fit": "range"},
}
# What --levels names.
CHOICES = {SOURCE: (SOURCE,), SYMMETRIC: (SYMMETRIC, WITH_ZERO), OURS: (OURS,)}
# Each differs from its rival in one thing: where 2^b levels lie, and whether there are 2^b or 2^b - 1.
RIVALS = {SYMMETRIC: SOURCE, WITH_ZERO: SYMMETRIC}


@dataclass(frozen=True)
class Scheme:
    """A way to quantize: levels of LEVELS, bits for all layers or by part; `ends`: first and last too."""

    levels: str
    bits: int | tuple[int, ...]
    ends: bool = False

    @property
    def what(self) -> str:
        """The scheme's name: 'ours, 4 bits, blocks'."""
        bits = str(self.bits) if isinstance(self.bits, int) else "{" + ",".join(map(str, self.bits)) + "}"
        return f"{self.levels}, {bits} bits, {'all layers' if self.ends else 'blocks'}"

    def columns(self) -> Row:
        """Returns what a row says of the scheme."""
        return {"levels": self.levels, "bits": self.bits, "where": "all" if self.ends else "blocks"}

    def apply(self, model: nn.Module) -> None:
        """Quantizes `model` in place."""
        parts = stages(model)
        skip = () if self.ends else (parts.first, parts.last)
        if isinstance(self.bits, int):
            quantize(model, self.bits, skip=skip, **LEVELS[self.levels])
            return
        overrides = {name: b for names, b in zip(parts.inner, self.bits, strict=True) for name in names}
        quantize(model, None, overrides=overrides, skip=skip, **LEVELS[self.levels])


def staged_schemes(model: nn.Module) -> list[Scheme]:
    """Returns item 5's: 4 bits in all stages but one, which has 2; the last first, as the source has it."""
    count = len(stages(model).inner)
    mixed = [tuple(2 if i == low else 4 for i in range(count)) for low in reversed(range(count))]
    return [Scheme(levels, bits) for levels in (OURS, SOURCE) for bits in mixed]


@dataclass(frozen=True)
class Parts:
    """Names of the first and the last layer, and of those between by stage."""

    first: str
    last: str
    inner: tuple[tuple[str, ...], ...]


def stages(model: nn.Module) -> Parts:
    """Groups a network's layers: ResNets by layer1..3; of others each inner layer is a stage."""
    names = [name for name, _ in weighted_layers(model)]
    inner = names[1:-1]
    found = sorted({name.split(".")[0] for name in inner})
    grouped = tuple(tuple(n for n in inner if n.split(".")[0] == stage) for stage in found)
    return Parts(names[0], names[-1], grouped)
