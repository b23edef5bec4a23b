"""Damaged files, half of them resealed: ArtifactError or numbers of the declared shapes, nothing else."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from hostile.bases import small_files
from hostile.mutations import KINDS, mutant
from hostile.outcome import measured_outcome, outcome
from hostile.reseal import reseal
from pithnet.artifact import decode
from pithnet.artifact.container import unpack
from pithnet.errors import ArtifactError

LIMIT = 200_000
MUTANTS = 100


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return small_files()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sealed", [False, True])
def test_mutants_are_refused_or_read(files: dict[str, bytes], kind: str, sealed: bool) -> None:
    rng, outcomes = random.Random(f"{kind}{sealed}"), []
    for _ in range(MUTANTS):
        name = rng.choice([name for name in files if name != "lanes"])
        what, seconds, _ = measured_outcome(mutant(files[name], kind, sealed, rng), LIMIT)
        assert not what.startswith("WRONG")
        assert seconds < 2
        outcomes.append(what)
    refused = [o for o in outcomes if o != "read"]
    assert all(message.isprintable() and len(message) < 400 for message in refused)
    assert len(refused) > MUTANTS // 4
    if sealed and kind in ("flip", "overwrite", "move", "edit_header", "edit_record"):
        assert len(refused) < MUTANTS - 2, "resealing does not reach the decoder"
    # One checksum cannot tell that two sound records of one length changed places.
    if not sealed and kind != "swap_records":
        assert len(refused) == MUTANTS


def test_every_truncation_is_refused(files: dict[str, bytes]) -> None:
    data = files["zoo"]
    for end in [*range(40), *range(40, len(data), 37), len(data) - 1]:
        with pytest.raises(ArtifactError):
            decode(data[:end])


def test_memory_stays_near_what_the_shapes_need(files: dict[str, bytes]) -> None:
    rng = random.Random(5)
    mutants = [mutant(files["zoo"], "overwrite", True, rng) for _ in range(40)]
    tracemalloc.start()
    for data in mutants:
        outcome(data, LIMIT)
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
