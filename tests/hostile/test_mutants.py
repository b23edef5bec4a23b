"""Damaged files, half of them resealed: ArtifactError or numbers of the declared shapes, nothing else."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest
import torch
from artifact.models import Assorted, Tied, fold_, shared_, trained_like

from hostile.reseal import reseal
from pithnet.artifact import Metadata, decode, encode, inspect
from pithnet.artifact.container import unpack
from pithnet.errors import ArtifactError

LIMIT = 100_000
MUTANTS = 120
MODELS = {
    "zoo": lambda: fold_(shared_(trained_like("digits-cnn", width=3), zeros=0.7, levels=5)),
    "custom": Tied,
    "assorted": Assorted,
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    torch.manual_seed(0)
    return {k: encode(build(), Metadata(recipe="r", claimed=(10, 9))) for k, build in MODELS.items()}


def _flip(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at, n = rng.randrange(len(data)), rng.choice([1, 2, 5])
    return data[:at] + rng.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * n + data[at + n :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]


def _delete(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 20) :]


def _move(data: bytes, rng: random.Random) -> bytes:
    a, b, n = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 40)
    return data[:a] + data[b : b + n] + data[a + n :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


KINDS = (_flip, _flip, _overwrite, _insert, _delete, _move, _cut)


def _outcome(data: bytes) -> str:
    """'read' where decode gives what the file declares, or else the message of its ArtifactError."""
    try:
        state, _ = decode(data, LIMIT)
    except ArtifactError as e:
        return str(e)
    declared = {e.name: (e.shape, e.dtype) for e in unpack(data).layout}
    assert declared == {n: (tuple(v.shape), v.dtype) for n, v in state.items()}
    assert sum(inspect(data, LIMIT).parts.values()) == len(data)
    return "read"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sealed", [False, True])
def test_mutants_are_refused_or_read(files: dict[str, bytes], name: str, sealed: bool) -> None:
    rng, original = random.Random(f"{name}{sealed}"), files[name]
    outcomes = []
    for _ in range(MUTANTS):
        mutant = rng.choice(KINDS)(original, rng)
        mutant = reseal(mutant) if sealed and len(mutant) > 8 else mutant
        if mutant == original:
            continue
        start = time.process_time()
        outcomes.append(_outcome(mutant))
        assert time.process_time() - start < 2
    refused = [o for o in outcomes if o != "read"]
    assert all(message.isprintable() and len(message) < 400 for message in refused)
    if sealed:
        assert len(outcomes) - len(refused) > 3, "resealing does not reach the decoder"
        assert len(refused) > MUTANTS // 4
    else:
        assert len(refused) == len(outcomes)


def test_every_truncation_is_refused(files: dict[str, bytes]) -> None:
    data = files["zoo"]
    for end in [*range(40), *range(40, len(data), 37), len(data) - 1]:
        with pytest.raises(ArtifactError):
            decode(data[:end])


def test_memory_stays_near_what_the_shapes_need(files: dict[str, bytes]) -> None:
    rng = random.Random(5)
    mutants = [reseal(_overwrite(files["zoo"], rng)) for _ in range(40)]
    tracemalloc.start()
    for mutant in mutants:
        _outcome(mutant)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * LIMIT + (1 << 22)


def test_resealing_an_untouched_file_changes_nothing(files: dict[str, bytes]) -> None:
    assert all(reseal(data) == data for data in files.values())


def test_a_damaged_record_is_named(files: dict[str, bytes]) -> None:
    data = bytearray(files["zoo"])
    opened = unpack(files["zoo"])
    index = next(i for i, r in enumerate(opened.records) if r.label == "conv2.weight")
    at = bytes(data).index(opened.bodies[index]) + len(opened.bodies[index]) // 2
    data[at] ^= 4
    with pytest.raises(ArtifactError, match=rf"record {index} \(conv2\.weight\): damaged, its checksum"):
        decode(bytes(data))
    at = files["zoo"].index(opened.bodies[index])
    unknown = reseal(files["zoo"][:at] + b"\x7f" + files["zoo"][at + 1 :])
    with pytest.raises(ArtifactError, match=rf"record {index} \(conv2\.weight\): has a coding this version"):
        decode(unknown)


def test_a_truncated_file_names_where_it_ends(files: dict[str, bytes]) -> None:
    with pytest.raises(ArtifactError, match=r"record \d+ \(linear\.bias\): ends too early"):
        decode(files["zoo"][:-3])


def test_trailing_bytes_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ArtifactError, match="checksum of the whole file"):
        decode(files["zoo"] + b"x")
    with pytest.raises(ArtifactError, match="4 bytes follow the last record"):
        decode(reseal(files["zoo"] + b"\0\0\0\0"))
