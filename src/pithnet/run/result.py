"""What a compression lost and gained, measured on the finalized model and the real file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pithnet import artifact
from pithnet.artifact import Inspection
from pithnet.learn import Evaluation, Scores, paired_difference
from pithnet.recipe import Recipe
from pithnet.results import Store
from pithnet.results.run_record import Accuracy, Difference, Removed
from pithnet.run.hardware import hardware
from pithnet.surgery import Coverage, LeftOut

Measured = Evaluation | Scores
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Result:
    """A compressed model, its file, and what was lost and gained.

    Attributes:
        model: The finalized network.
        data: The bytes of the file.
        recipe: The recipe's name.
        before: The float model's evaluation, None without test data.
        after: The finalized model's evaluation on the same samples, None without test data.
        inspection: What the file holds.
        rivals: The bytes of the trivial ways by name; empty where they were left out.
        formula_ratio: The compression that the formula of Deep Compression gives.
        float_bytes: The bytes of the float32 state_dict.
        seconds: The wall time of the run, from its last start.
        covered: What of the network is compressed.
        rivals_estimated: Whether the rivals are estimated from samples of a large model.
        compressed: The model with its masks, codebooks and quantizers, before it was finalized.
        removed: What removed channels save, None where none were.
    """

    model: nn.Module
    data: bytes
    recipe: str
    before: Measured | None
    after: Measured | None
    inspection: Inspection
    rivals: Mapping[str, int]
    formula_ratio: float
    float_bytes: int
    seconds: float
    covered: Coverage
    rivals_estimated: bool = False
    compressed: nn.Module | None = None
    removed: Removed | None = None

    @property
    def coverage(self) -> float:
        """Parameters under a mask, codebook or quantizer / all parameters, in [0, 1]."""
        return self.covered.share

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The tensors that nothing compresses, largest first, with the reason."""
        return self.covered.left_out

    @property
    def smaller_rival(self) -> str | None:
        """The name of the smallest trivial way that takes fewer bytes than the file, None without one."""
        name = min(self.rivals, key=self.rivals.__getitem__, default=None)
        return name if name is not None and self.rivals[name] < self.bytes else None

    @property
    def bytes(self) -> int:
        """The bytes of the file."""
        return len(self.data)

    @property
    def ratio(self) -> float:
        """The bytes of the float32 state_dict / the bytes of the file."""
        return self.float_bytes / self.bytes

    def save(self, path: str | Path) -> None:
        """Writes the .pith file.

        Raises:
            ArtifactError: The file cannot be written.
        """
        artifact.save(path, self.data)

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the model and the data, as results.json holds it.

        `before`, `after` and `difference` name their `metric`. Of a metric other than accuracy, the key
        "accuracy" holds the mean score; `share` says whether that is one of 0..1 and `points` are percentage
        points, else both are in the metric's own unit.
        """
        difference = _difference(self.before, self.after)
        return {
            "recipe": self.recipe,
            "architecture": self.inspection.architecture,
            "bytes": self.bytes,
            "float_bytes": self.float_bytes,
            "ratio": self.ratio,
            "formula_ratio": self.formula_ratio,
            "before": measured_json(self.before),
            "after": measured_json(self.after),
            "difference": None if difference is None else difference.model_dump(),
            "rivals": {
                k: {"bytes": v, "ratio": self.float_bytes / v, "estimated": self.rivals_estimated}
                for k, v in self.rivals.items()
            },
            "parts": dict(self.inspection.parts),
            "tensors": [
                {
                    "name": t.name,
                    "shape": list(t.shape),
                    "dtype": t.dtype,
                    "coding": t.coding,
                    "zeros": t.zeros,
                    "levels": t.levels,
                    "bits": t.bits,
                    "bytes": dict(t.bytes),
                }
                for t in self.inspection.tensors
            ],
            "seconds": self.seconds,
            "removed": None if self.removed is None else self.removed.model_dump(),
            **coverage_json(self.covered),
        }

    def __str__(self) -> str:
        lines = [
            f"{self.recipe}: {self.bytes:,} bytes, "
            f"{self.ratio:.1f}x smaller than float32 ({self.float_bytes:,})"
        ]
        if self.before is not None and self.after is not None:
            lines.append(_comparison(self.before, self.after))
        if self.removed is not None:
            lines.append(str(self.removed))
        lines.append(coverage_line(self.coverage, [(part.name, part.why) for part in self.left_out]))
        about = "~" if self.rivals_estimated else ""
        for name, size in self.rivals.items():
            lines.append(f"  {name}: {about}{size:,} bytes, {about}{self.float_bytes / size:.1f}x")
        return "\n".join(lines)


def coverage_json(covered: Coverage) -> dict[str, Any]:
    """Returns `coverage`, in [0, 1], and `left_out`: name, parameters and why of each, largest first."""
    parts = [{"name": p.name, "parameters": p.parameters, "why": p.why} for p in covered.left_out]
    return {"coverage": covered.share, "left_out": parts}


def coverage_line(share: float, left_out: Sequence[tuple[str, str]]) -> str:
    """Says how much is compressed, and which the largest tensors are that are not.

    Args:
        share: The share of the parameters that is compressed, in [0, 1].
        left_out: (name, why) of each tensor that is not, largest first.
    """
    line = f"{100 * share:.1f} % of the parameters are under a mask, codebook or quantizer"
    named = [f"{name} ({why})" for name, why in left_out[:_NAMED]]
    return f"{line}; largest left out: {', '.join(named)}" if named else line


def measured_json(e: Measured | None) -> dict[str, Any] | None:
    """Returns what was measured as results hold it: "accuracy" is the mean score of whatever metric."""
    if e is None:
        return None
    what = {"metric": e.metric, "share": _is_share(e)}
    return {"accuracy": e.mean, "n": e.n, "loss": e.loss, "interval": list(e.interval), **what}


def _difference(before: Measured | None, after: Measured | None) -> Difference | None:
    if before is None or after is None:
        return None
    share = _is_share(before) and _is_share(after)
    points, low, high = ((100 if share else 1) * v for v in paired_difference(before.scores, after.scores))
    return Difference(points=points, low=low, high=high, metric=after.metric, share=share)


def _comparison(before: Measured, after: Measured) -> str:
    """Before -> after and their difference in a line: per cent and points of a share, else plain numbers."""
    d = _difference(before, after)
    assert d is not None
    # Shares only where both are: a metric may happen to give one network nothing but 0 and 1.
    old, new = (Accuracy(accuracy=e.mean, n=e.n, share=d.share).score for e in (before, after))
    change = f"{after.metric} {old} -> {new} on {after.n:,} {d.things}"
    return f"{change}: {d.gain} (95 % interval {d.span})"


def _is_share(e: Measured) -> bool:
    return e.scores.dtype == torch.bool


def formula_ratio(inspection: Inspection) -> float:
    """Returns 1 / (nonzero / total * average code length / 32) over the shared weights.

    This is how courses compute the ratio of Deep Compression (Han, Mao & Dally 2016). It counts neither
    positions, codebooks, BN nor headers, which is why real files are larger.
    """
    weights = [t for t in inspection.tensors if len(t.shape) > 1 and not t.coding.startswith("tied to ")]
    total = sum(_size(t.shape) for t in weights)
    bits = sum(8 * t.bytes["symbols"] for t in weights)
    return total * 32 / bits if bits else 0.0


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def record(
    result: Result, recipe: Recipe, store: Store, command: str, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Writes model.pith and results.json of a compression.

    Args:
        result: What came out.
        recipe: What was done.
        store: The run's folder, with the events of all its epochs, before a stop too.
        command: What started the run.
        more: What else results.json says.

    Returns:
        What results.json holds.

    Raises:
        PithError: The store cannot be written.
    """
    results = {
        "kind": "compress",
        **result.to_json(),
        "train_seconds": sum(e["seconds"] for e in store.events("epoch")),
        "epochs": recipe.epochs,
        "seed": recipe.seed,
        "hardware": hardware(),
        "command": command,
        **(more or {}),
    }
    store.write("model.pith", result.data)
    store.write_record("results.json", results)
    return results
