"""Few bytes cannot ask for much work: with a tenth of the budget, so that the whole list takes a second.

`python tests/hostile/worst.py` prints the seconds of each with the whole budget.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hostile import worst
from pithnet.artifact import budget, decode
from pithnet.artifact.coders import pack_symbols
from pithnet.artifact.wire import signed
from pithnet.coding.bitpack import put_varint
from pithnet.errors import ArtifactError

BYTES = 300 * 10**6


def test_what_few_bytes_ask_for_is_read_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "BASE", budget.BASE // 10)
    refused, read = [], []
    for name, data in worst.cases(part=10):
        assert len(data) < 1 << 20, name
        what, _, peak = worst.tried(data)
        assert peak < BYTES, name
        (read if what == "read" else refused).append((name, what))
    assert len(read) >= 2
    assert sum("takes more work than a file of" in what for _, what in refused) > 12


def test_who_allows_more_elements_allows_more_work() -> None:
    data = worst.file_of(((1 << 24,), worst.of_symbols("lanes", worst.few_lanes(1 << 24))))
    for allowed in (1 << 24, 1 << 28):
        with pytest.raises(
            ArtifactError, match=r"record 0 \(l0\): takes more work .* max_elements=2147483648"
        ):
            decode(data, allowed)
    assert budget.Budget(100, 1 << 31).most == 8 * budget.Budget(100).most


def test_numbers_of_eight_bytes_count_twice() -> None:
    assert decode(worst.file_of(((4, 5), b"\x03\x3f"), dtype=torch.float64), 40)
    with pytest.raises(ArtifactError, match="declares 40 numbers, at most 39"):
        decode(worst.file_of(((4, 5), b"\x03\x3f"), dtype=torch.float64), 39)


def test_shapes_whose_strides_overflow_are_refused() -> None:
    data = worst.file_of(((2,), b"\x03\x3f"))
    assert decode(data)
    huge = worst.file_of((((1 << 31) - 1,) * 15 + (0,), b"\x03\x3f"))
    with pytest.raises(ArtifactError, match="header: the tensor table is not of the form"):
        decode(huge)


def test_remainders_beyond_int32_are_refused() -> None:
    symbols = pack_symbols(np.arange(16), np.ones((4, 4), bool))
    scales = b"\x00\x00" + put_varint(0x3F800000)
    for low, field, good in (
        (0, b"\xff" * 16, False),
        (1 << 26, bytes(16), True),
        (-1 << 26, b"\0\0\0\x40" * 4, True),
    ):
        body = b"\x09\x00\x01\x00\x20" + signed(low) + field + scales + symbols
        if good:
            value = float(decode(worst.file_of(((4, 4), body)))[0]["l0"][0, 0])
            assert value == low + int.from_bytes(field[:4])
            continue
        with pytest.raises(ArtifactError, match="remainders beyond 67108864"):
            decode(worst.file_of(((4, 4), body)))
