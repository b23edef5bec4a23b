"""The bytes of a model, stage by stage, from float32 to the file; each stage's parts add up exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pithnet.results.run_record import Results, StoredTensor

PARTS = ("positions", "values", "levels", "vectors", "frame", "unsplit")


@dataclass(frozen=True)
class Stage:
    """A way to store the model.

    Attributes:
        name: What the report calls it.
        meaning: Says what is counted.
        parts: Bytes of each of PARTS.
    """

    name: str
    meaning: str
    parts: dict[str, int]

    @property
    def bytes(self) -> int:
        """How many bytes the model takes so."""
        return sum(self.parts.values())


def stages(r: Results) -> list[Stage]:
    """Returns the stages up to the file; none where the results do not account for every byte of it.

    Up to `shared` they are what a plain format would take, `coded`, `normalisation` and `file` are bytes of
    the file itself.
    """
    weights = [t for t in r.tensors if t.is_weight and _is_float(t) and not _is_tied(t)]
    frame = r.parts.get("header", 0) + r.parts.get("checksums", 0)
    if r.bytes is None or not r.float_bytes or not weights:
        return []
    if sum(r.parts.values()) != r.bytes or frame + sum(t.spent for t in r.tensors) != r.bytes:
        return []
    held = 4 * sum(t.size for t in r.tensors if _is_float(t) and not _is_tied(t))
    vectors = held - 4 * sum(t.size for t in weights)
    found = [Stage("float32", "every number of the state_dict in 4 bytes", _parts(unsplit=r.float_bytes))]
    whole = _parts(values=held - vectors, vectors=vectors)
    if held == r.float_bytes:
        found = [replace(found[0], parts=whole)]
    else:  # a network that was made smaller: what it was is known by its size only
        found.append(Stage("kept", "the tensors that the file holds, in 4 bytes a number", whole))
    return [*found, *_coarse(weights, vectors), *_coded(r, weights, vectors, frame)]


def _coarse(weights: Sequence[StoredTensor], vectors: int) -> list[Stage]:
    bitmap = sum(map(_bitmap, weights))
    values = 4 * sum(t.size - t.zeros for t in weights)
    pruned = _parts(values=values, positions=bitmap, vectors=vectors)
    indexed = [_indexed(t) for t in weights]
    shared = _parts(
        values=sum(v for v, _ in indexed),
        levels=sum(n for _, n in indexed),
        positions=bitmap,
        vectors=vectors,
    )
    return [
        Stage("pruned", "weights that are not zero in 4 bytes, and one bit per weight: zero or not", pruned),
        Stage(
            "shared",
            "instead of 4 bytes an index of a fixed width into the layer's levels, the levels in 4 bytes "
            "each; layers that this does not make smaller stay as they were",
            shared,
        ),
    ]


def _coded(r: Results, weights: Sequence[StoredTensor], vectors: int, frame: int) -> list[Stage]:
    assert r.bytes is not None
    spent = {
        "positions": _sum(weights, "positions"),
        "values": _sum(weights, "symbols"),
        "levels": _sum(weights, "codebook"),
    }
    lengths = sum(t.spent for t in weights) - sum(spent.values())
    theirs = r.bytes - frame - sum(t.spent for t in weights)
    return [
        Stage(
            "coded",
            "positions, indices and levels of the weights as the file codes them",
            _parts(**spent, vectors=vectors, frame=lengths),
        ),
        Stage(
            "normalisation",
            "normalisation, biases and all else that is no weight as the file keeps them",
            _parts(**spent, vectors=theirs, frame=lengths),
        ),
        Stage(
            "file",
            "with header and checksums: the file",
            _parts(**spent, vectors=theirs, frame=lengths + frame),
        ),
    ]


def _parts(**given: int) -> dict[str, int]:
    return {name: given.get(name, 0) for name in PARTS}


def _indexed(t: StoredTensor) -> tuple[int, int]:
    """Bytes of (values, levels) of a weight's non-zeros: indices and a table, or floats if that is less."""
    nonzeros = t.size - t.zeros
    # Width of the indices 0 .. levels - 1; a single level needs none.
    index = -(-nonzeros * max(t.levels - 1, 0).bit_length() // 8)
    return (index, 4 * t.levels) if index + 4 * t.levels < 4 * nonzeros else (4 * nonzeros, 0)


def _bitmap(t: StoredTensor) -> int:
    return -(-t.size // 8)


def _sum(tensors: Sequence[StoredTensor], part: str) -> int:
    return sum(t.bytes.get(part, 0) for t in tensors)


def _is_float(t: StoredTensor) -> bool:
    return "float" in t.dtype


def _is_tied(t: StoredTensor) -> bool:
    return t.coding.startswith("tied to ")
