"""Widths in a header that make no network, with every checksum right: refused before memory is taken."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
import torch

import pithnet as pn
from hostile.reseal import reseal
from pithnet import zoo
from pithnet.artifact import decode, encode, inspect
from pithnet.artifact.wire import block
from pithnet.errors import ArtifactError

RIGHT = (3, 2, 2, 2, 4, 5, 1, 4, 4, 8, 8, 2, 8, 8)


def _file(widths: object, name: str = "resnet20", version: int = 2) -> bytes:
    header = msgpack.packb({"a": [name, {"widths": widths}]})
    return reseal(
        b"PITH" + bytes([version]) + block(header) + (block(b"\x03\x3f") + bytes(4)) * 25 + bytes(4)
    )


def _with(place: int, number: object) -> list[object]:
    return [*RIGHT[:place], number, *RIGHT[place + 1 :]]


CASES: dict[str, tuple[object, str]] = {
    "0": (_with(1, 0), r"layer1\.0\.conv1 is 0; choose a whole number from 1"),
    "negative": (_with(1, -1), "argument 'widths'"),
    "2**31": (_with(1, 2**31), "argument 'widths'"),
    "2**63": (_with(1, 2**63), "argument 'widths'"),
    "a bool": (_with(1, True), "argument 'widths'"),
    "a float": (_with(1, 2.0), "argument 'widths'"),
    "text": (_with(1, "2"), "argument 'widths'"),
    "nothing": (_with(1, None), "argument 'widths'"),
    "a list": (_with(1, [2]), "argument 'widths'"),
    "too few": (list(RIGHT[:-1]), "widths are 13 numbers"),
    "too many": ([*RIGHT, 8], "15 numbers, and the network takes 14"),
    "none": ([], "widths are 0 numbers"),
    "many": ([1] * 100_000, "argument 'widths'"),
    "a table": ({"conv1": 3}, "argument 'widths'"),
    "a number": (3, "widths are a table"),
    "a word": ("conv1", "widths are a table"),
    "fewer than the shortcut passes on": (_with(5, 2), "passes on 1 channels more"),
    "zeros before that are not there": (_with(6, 3), "before is 3, and"),
    "more numbers than memory": ([2**20] * 6 + [0] + [2**20] * 4 + [0] + [2**20] * 2, "at most 268435456"),
}


@pytest.mark.parametrize("case", CASES)
def test_widths_that_make_no_network_are_refused_before_memory_is_taken(case: str) -> None:
    widths, message = CASES[case]
    data = _file(widths)
    for read in (decode, inspect):
        tracemalloc.start()
        with pytest.raises(ArtifactError, match=message) as caught:
            read(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert str(caught.value).startswith("header: ")
        assert peak < 1 << 23


def test_an_architecture_takes_only_its_own_number_of_widths() -> None:
    with pytest.raises(ArtifactError, match="widths are 14 numbers; layers"):
        decode(_file(list(RIGHT), "mobilenetv2"))
    with pytest.raises(ArtifactError, match="14 numbers, and the network takes 3"):
        decode(_file(list(RIGHT), "digits-cnn"))


def test_only_the_new_version_has_widths_and_others_are_written_as_ever() -> None:
    torch.manual_seed(0)
    narrow, usual = zoo.build("resnet20", widths=RIGHT), zoo.build("digits-cnn", width=2)
    assert (encode(narrow)[:5], encode(usual)[:5]) == (b"PITH\x02", b"PITH\x01")
    with pytest.raises(ArtifactError, match="argument 'widths' of resnet20"):
        decode(_file(list(RIGHT), version=1))
    assert decode(_file(list(RIGHT)))[1].arguments == {"widths": RIGHT}


def test_what_a_header_cannot_hold_is_not_written() -> None:
    for widths in ((0.5,), (True,), (-1,), (2**20 + 1,), (1,) * 4097, [1]):
        with pytest.raises(ArtifactError, match="a tuple of whole numbers from 0 to 1048576, 4096 at most"):
            pn.Metadata(architecture="resnet20", arguments={"widths": widths})  # type: ignore[dict-item]
