"""An account of where the bytes of a file went."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pithnet.artifact.budget import MAX_ELEMENTS
from pithnet.artifact.container import CRC_BYTES, Opened, unpack
from pithnet.artifact.decoder import decode_records, folded
from pithnet.artifact.layout import Entry, Record
from pithnet.artifact.metadata import Argument
from pithnet.artifact.record import Decoded, words
from pithnet.coding.bitpack import put_varint
from pithnet.heartbeat import working

PARTS = ("positions", "symbols", "codebook", "other")
FILE_PARTS = ("header", "positions", "symbols", "codebooks", "norm", "other", "checksums")


@dataclass(frozen=True)
class TensorReport:
    """One stored tensor.

    Attributes:
        name: Its name in the state_dict.
        shape: Its shape.
        dtype: Its dtype.
        coding: The coding and entropy coder of its values.
        zeros: Number of exact +0.0.
        levels: Number of distinct values but zero.
        bits: 8 * its bytes / its elements.
        bytes: Bytes of positions, symbols, codebook and other; a record that several tensors share is split
            by their sizes. Checksums are counted with the file, not with tensors.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    coding: str
    zeros: int
    levels: int
    bits: float
    bytes: Mapping[str, int]


@dataclass(frozen=True)
class Inspection:
    """The account of a file.

    Attributes:
        bytes: The size of the file.
        ratio: float32 bytes of the state_dict / file bytes.
        architecture: Name of the zoo's network.
        arguments: The architecture's arguments.
        normalization: (mean, std) that images need.
        dataset: The data set's name.
        recipe: Name of the recipe, or a small mapping.
        claimed: (images, correct answers) at the time of writing.
        source: sha256 of the checkpoint compressed.
        norm: "folded" (BatchNorm without statistics), "statistics", or None.
        parts: Bytes by part, which add up to `bytes`.
        tensors: The tensors in the file's order.
    """

    bytes: int
    ratio: float
    architecture: str | None
    arguments: Mapping[str, Argument]
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None
    dataset: str | None
    recipe: str | Mapping[str, Any] | None
    claimed: tuple[int, int] | None
    source: str | None
    norm: str | None
    parts: Mapping[str, int]
    tensors: tuple[TensorReport, ...]

    def to_json(self) -> str:
        """Returns one JSON object with the fields of this class."""
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        """Returns a line for the file, and one for each tensor."""
        what = self.architecture or "a model"
        lines = [f"{what}: {self.bytes:,} bytes, {self.ratio:.1f}x smaller than in float32"]
        for t in self.tensors:
            size = f"{sum(t.bytes.values()):,} bytes, {t.bits:.2f} bits an element"
            lines.append(f"  {t.name} {t.shape}: {t.coding}, {size}, {t.zeros:,} zeros, {t.levels:,} levels")
        return "\n".join(lines)


def inspect(data: bytes, max_elements: int = MAX_ELEMENTS) -> Inspection:
    """Returns the account of a file.

    Args:
        data: The file.
        max_elements: The most numbers in all.

    Raises:
        ArtifactError: The file is damaged, truncated or hostile, or has too many numbers.
    """
    account, opened = Account(), unpack(data)
    with working("inspect", sum(r.size for r in opened.records), "numbers") as step:
        for record, decoded in decode_records(opened, max_elements):
            account.add(record, decoded)
            step.advance(record.size)
    return account.inspection(data)


class Account:
    """An inspection in the making: every record of a file is added once, then the file itself."""

    def __init__(self) -> None:
        self._parts: Counter[str] = Counter()
        self._rows: dict[str, TensorReport] = {}
        self._statistics: dict[str, Tensor] = {}
        self._floats = 0

    def add(self, record: Record, decoded: Decoded) -> None:
        """Counts a record's bytes and numbers; of these it keeps statistics of BatchNorm layers only."""
        spent = Counter(decoded.spent)
        spent["other"] += len(put_varint(sum(spent.values())))
        _count(self._parts, record, spent)
        for row, values in _rows(record, decoded, spent):
            self._rows[row.name] = row
            if row.name.endswith(("running_mean", "running_var")):
                self._statistics[row.name] = values
            self._floats += values.numel() if values.is_floating_point() else 0

    def inspection(self, data: bytes) -> Inspection:
        """Returns the account of the file whose records these are."""
        opened, parts, rows = unpack(data), self._parts, self._rows
        parts |= Counter(header=opened.header_bytes, checksums=CRC_BYTES * (len(opened.records) + 1))
        tied = {
            a: _tied(e, opened.aliases[a], rows) for e in opened.layout if (a := e.name) in opened.aliases
        }
        meta = opened.metadata
        return Inspection(
            bytes=len(data),
            ratio=4 * self._floats / len(data),
            architecture=meta.architecture,
            arguments=meta.arguments,
            normalization=meta.normalization,
            dataset=meta.dataset,
            recipe=meta.recipe,
            claimed=meta.claimed,
            source=meta.source,
            norm=_norm(self._statistics, opened),
            parts={k: parts[k] for k in FILE_PARTS},
            tensors=tuple((rows | tied)[e.name] for e in opened.layout if e.name in rows or e.name in tied),
        )


def _norm(state: Mapping[str, Tensor], opened: Opened) -> str | None:
    answer = folded({**state, **{a: state[h] for a, h in opened.aliases.items() if h in state}}, opened)
    return None if answer is None else "folded" if answer else "statistics"


def _count(parts: Counter[str], record: Record, spent: Mapping[str, int]) -> None:
    for part, count in spent.items():
        parts["norm" if record.norm else "codebooks" if part == "codebook" else part] += count


def _rows(record: Record, decoded: Decoded, spent: Mapping[str, int]) -> list[tuple[TensorReport, Tensor]]:
    sizes = [e.size for e in record.entries]
    shares = {part: _shares(spent.get(part, 0), sizes) for part in PARTS}
    rows = []
    for i, (entry, values) in enumerate(zip(record.entries, torch.split(decoded.values, sizes), strict=True)):
        own = {part: shares[part][i] for part in PARTS}
        zeros, levels = _census(values)
        bits = 8 * sum(own.values()) / entry.size if entry.size else 0.0
        dtype = str(entry.dtype).removeprefix("torch.")
        rows.append(
            (TensorReport(entry.name, entry.shape, dtype, decoded.coding, zeros, levels, bits, own), values)
        )
    return rows


def _shares(total: int, sizes: Sequence[int]) -> list[int]:
    """Splits `total` in proportion to `sizes`, in whole bytes that add up."""
    if not any(sizes):
        return [total, *[0] * (len(sizes) - 1)]
    ends = [total * done // sum(sizes) for done in np.cumsum([0, *sizes]).tolist()]
    return [b - a for a, b in pairwise(ends)]


def _census(values: Tensor) -> tuple[int, int]:
    """Counts exact zeros and distinct other values; -0.0 is a value."""
    distinct, counts = torch.unique(words(values), return_counts=True)
    zeros = int(counts[distinct == 0].sum())
    return zeros, int(distinct.numel()) - (1 if zeros else 0)


def _tied(entry: Entry, holder: str, rows: Mapping[str, TensorReport]) -> TensorReport:
    row = rows[holder]
    nothing = dict.fromkeys(PARTS, 0)
    return TensorReport(
        entry.name, entry.shape, row.dtype, f"tied to {holder}", row.zeros, row.levels, 0.0, nothing
    )
