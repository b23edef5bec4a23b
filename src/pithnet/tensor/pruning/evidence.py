"""What a pruning criterion may look at: the weight, and what data says about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pithnet.errors import RecipeError, require_known
from pithnet.tensor._checks import require_finite

EVIDENCE = ("weight", "generator", "gradient", "gradient_magnitude", "input_norm")
FROM_LABELS = frozenset({"gradient", "gradient_magnitude"})
FROM_BATCHES = FROM_LABELS | {"input_norm"}


class Evidence:
    """What is known about one weight tensor; it is not changed after it is made.

    A criterion gets it with the attributes that it declares; it cannot read any other one.

    Args:
        weight: Floating point, any shape.
        gradient: dL/dw, the mean over samples, of the weight's shape.
        gradient_magnitude: The mean of |dL/dw| over batches, each with the weight of its samples, of the
            weight's shape.
        input_norm: For each weight the L2 norm of the inputs that it multiplies, over all samples and
            positions; of the weight's shape, or of one that broadcasts to it.
        generator: Where random numbers come from; torch's global generator where it is None.
    """

    def __init__(
        self,
        weight: Tensor,
        *,
        gradient: Tensor | None = None,
        gradient_magnitude: Tensor | None = None,
        input_norm: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self._given: dict[str, Any] = {
            "weight": weight,
            "gradient": gradient,
            "gradient_magnitude": gradient_magnitude,
            "input_norm": input_norm,
            "generator": generator,
        }
        self._reader: str | None = None
        self._declared = frozenset(EVIDENCE)

    def opened_for(self, reader: str, declared: Iterable[str]) -> Evidence:
        """Returns the same evidence, of which only what a criterion declared can be read.

        Args:
            reader: The criterion's name, for messages.
            declared: Names of EVIDENCE.

        Raises:
            ModelError: The weight, or what is declared, is not floating point or holds NaN or inf.
            RecipeError: Something that is declared was not given.
        """
        opened = Evidence(**self._given)
        opened._reader, opened._declared = reader, frozenset(declared)
        require_finite(self._given["weight"], f"{reader}: weight")
        for name in sorted(opened._declared - {"weight", "generator"}):
            value = self._given[name]
            if value is None:
                raise RecipeError(
                    f"criterion {reader!r} needs the {name} of every weight: give batches= to prune, or "
                    f"Evidence(weight, {name}=...)"
                )
            require_finite(value, f"{reader}: {name}")
        return opened

    @property
    def shape(self) -> torch.Size:
        """The weight's shape, which every criterion may know."""
        shape: torch.Size = self._given["weight"].shape
        return shape

    @property
    def device(self) -> torch.device:
        """The weight's device, which every criterion may know."""
        device: torch.device = self._given["weight"].device
        return device

    @property
    def weight(self) -> Tensor:
        """The weight, detached."""
        weight: Tensor = self._read("weight")
        return weight.detach()

    @property
    def gradient(self) -> Tensor:
        """dL/dw, the mean over samples; the weight's shape."""
        gradient: Tensor = self._read("gradient")
        return gradient

    @property
    def gradient_magnitude(self) -> Tensor:
        """The mean over batches of |dL/dw|; the weight's shape."""
        magnitude: Tensor = self._read("gradient_magnitude")
        return magnitude

    @property
    def input_norm(self) -> Tensor:
        """The L2 norm of the inputs that each weight multiplies; it broadcasts to the weight's shape."""
        norm: Tensor = self._read("input_norm")
        return norm

    @property
    def generator(self) -> torch.Generator | None:
        """Where random numbers come from, None for torch's global generator."""
        generator: torch.Generator | None = self._read("generator")
        return generator

    def _read(self, name: str) -> Any:
        if name not in self._declared:
            needs = sorted({*self._declared, name}, key=EVIDENCE.index)
            raise RecipeError(
                f"criterion {self._reader!r} reads the {name} of a weight without declaring it; register it "
                f"with needs={tuple(needs)}"
            )
        return self._given[name]


def require_evidence(names: Iterable[str]) -> frozenset[str]:
    """Returns the names as a set.

    Raises:
        RecipeError: `Evidence` lacks one of them; the message has the nearest known name.
    """
    for name in names:
        require_known("evidence", name, EVIDENCE, RecipeError)
    return frozenset(names)
