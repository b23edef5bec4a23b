"""Files keep their bytes while code moves; where bytes change on purpose, record.py writes new digests."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch

from golden.cases import HERE, ONE_SHOT, TRAINED, digest, machine

KNOWN_ONE_SHOT = json.loads((HERE / "one_shot.json").read_text())
KNOWN_TRAINED = json.loads((HERE / "trained.json").read_text())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ONE_SHOT)
def test_a_one_shot_pass_gives_the_same_bytes_on_every_processor(name: str) -> None:
    assert digest(ONE_SHOT[name]()) == KNOWN_ONE_SHOT[name]


def test_no_digest_is_left_of_a_case_that_went() -> None:
    assert list(KNOWN_ONE_SHOT) == list(ONE_SHOT)
    assert all(list(digests) == list(TRAINED) for digests in KNOWN_TRAINED.values())


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trained_gives_the_same_bytes_on_a_known_machine(name: str) -> None:
    if machine() not in KNOWN_TRAINED:
        pytest.skip(f"the bytes of {name!r} are not known on: {machine()}")
    assert digest(TRAINED[name]()) == KNOWN_TRAINED[machine()][name]
