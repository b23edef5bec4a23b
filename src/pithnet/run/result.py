"""What a compression lost and gained, measured on the finalized model and the real file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pithnet import artifact
from pithnet.artifact import Inspection
from pithnet.learn import Evaluation, paired_difference


@dataclass(frozen=True, eq=False)
class Result:
    """A compressed model.

    before, after: the float model and the finalized one on the same images, None where there were none.
    rivals: bytes of the trivial ways. formula_ratio: the compression Deep Compression's formula gives.
    """

    model: nn.Module
    data: bytes
    recipe: str
    before: Evaluation | None
    after: Evaluation | None
    inspection: Inspection
    rivals: Mapping[str, int]
    formula_ratio: float
    float_bytes: int
    seconds: float

    @property
    def bytes(self) -> int:
        return len(self.data)

    @property
    def ratio(self) -> float:
        """float32 state_dict bytes / file bytes."""
        return self.float_bytes / self.bytes

    def save(self, path: str | Path) -> None:
        """Writes the .pith file. Raises ArtifactError where it cannot."""
        artifact.save(path, self.data)

    def to_json(self) -> dict[str, Any]:
        """Everything but the model and the data."""
        difference = None
        if self.before is not None and self.after is not None:
            points, low, high = (100 * v for v in paired_difference(self.before.correct, self.after.correct))
            difference = {"points": points, "low": low, "high": high}
        return {
            "recipe": self.recipe,
            "architecture": self.inspection.architecture,
            "bytes": self.bytes,
            "float_bytes": self.float_bytes,
            "ratio": self.ratio,
            "formula_ratio": self.formula_ratio,
            "before": _evaluation(self.before),
            "after": _evaluation(self.after),
            "difference": difference,
            "rivals": {k: {"bytes": v, "ratio": self.float_bytes / v} for k, v in self.rivals.items()},
            "parts": dict(self.inspection.parts),
            "tensors": [
                {
                    "name": t.name,
                    "shape": list(t.shape),
                    "coding": t.coding,
                    "zeros": t.zeros,
                    "levels": t.levels,
                    "bits": t.bits,
                    "bytes": dict(t.bytes),
                }
                for t in self.inspection.tensors
            ],
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.recipe}: {self.bytes:,} bytes, "
            f"{self.ratio:.1f}x smaller than float32 ({self.float_bytes:,})"
        ]
        if self.before is not None and self.after is not None:
            points, low, high = (100 * v for v in paired_difference(self.before.correct, self.after.correct))
            lines.append(
                f"accuracy {100 * self.before.accuracy:.2f} % -> {100 * self.after.accuracy:.2f} % on "
                f"{self.after.n:,} images: {points:+.2f} points (95 % interval {low:+.2f} to {high:+.2f})"
            )
        for name, size in self.rivals.items():
            lines.append(f"  {name}: {size:,} bytes, {self.float_bytes / size:.1f}x")
        return "\n".join(lines)


def _evaluation(e: Evaluation | None) -> dict[str, Any] | None:
    if e is None:
        return None
    return {"accuracy": e.accuracy, "n": e.n, "loss": e.loss, "interval": list(e.interval)}


def formula_ratio(inspection: Inspection) -> float:
    """1 / (nonzero / total * average code length / 32) over the shared weights, as the courses compute it.

    Counts neither positions, codebooks, BN nor headers, which is why real files are larger.
    """
    weights = [t for t in inspection.tensors if len(t.shape) > 1]
    total = sum(_size(t.shape) for t in weights)
    bits = sum(8 * t.bytes["symbols"] for t in weights)
    return total * 32 / bits if bits else 0.0


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n
