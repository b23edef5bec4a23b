"""Few bytes cannot ask for much work: with a part of the budget, so that the whole list takes seconds.

`python benchmarks/bench_hostile.py` prints the seconds of each with the whole budget.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hostile import worst
from pithnet.artifact import budget, decode, encode, inspect
from pithnet.artifact.coders import pack_symbols
from pithnet.artifact.container import unpack
from pithnet.artifact.decoder import decode_records
from pithnet.artifact.wire import signed
from pithnet.coding.bitpack import put_varint
from pithnet.errors import ArtifactError

BYTES, PART = 300 * 10**6, 30
KINDS = {kind.name: kind for kind in worst.kinds(PART)}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_takes_no_more_work_than_its_budget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record more than the budget allows is refused; records that fill 1 MB before are read."""
    monkeypatch.setattr(budget, "OF_SMALL", budget.OF_SMALL // PART)
    data, beyond = worst.filled(KINDS[name])
    assert len(data) <= 1 << 20
    what, _, peak = worst.tried(data)
    assert peak < BYTES
    assert ("takes more work than a file of" in what) if beyond else what == "read", what


def test_headers_take_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "OF_SMALL", budget.OF_SMALL // PART)
    found = {}
    for name, data in worst.headers(70_000):
        found[name], _, peak = worst.tried(data)
        assert peak < 40 * 10**6, name
    for name in ("a recipe of lists", "a recipe of maps"):
        assert "more than 65536 lists and maps" in found[name]
    for name in ("a layout of nils", "a layout of lists", "a layout of maps"):
        assert "tensor table is not of the form" in found[name]
    assert "the key '99999' comes twice" in found["a key twice"]
    assert all("takes more work" in found[name] for name in found if "many" in name or "tied" in name)


def test_questions_levels_and_lanes_are_paid_for() -> None:
    """Three ways to work much that a record's numbers do not tell: each costs what the page says."""
    for bodies, least in (
        ([worst.restless_model()], 50 * 1022 * 255),
        ([((2, 2), b"\x08" + put_varint(65_535) + b"\x01\x00\x00\x01" + b"\x05\x92\x00")], 65_536),
        ([worst.one_by_one(3, [1, 1])], 1400 * 8193),
    ):
        meter = budget.Meter(0)
        try:
            for _ in decode_records(unpack(worst.file_of(*bodies)), budget=meter):
                pass
        except ArtifactError:
            pass
        assert least <= meter.spent < 2 * least + 200_000


def test_an_encoder_writes_what_a_reader_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow coders are left out, the slowest first, where a file with them would be refused."""
    levels = torch.randint(0, 7, (128, 64, 3, 3), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Conv2d(64, 128, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.where(levels > 2, 0.0, levels + 1))
    names = []
    for _ in range(3):
        data = encode(model)
        assert torch.equal(decode(data)[0]["0.weight"], model[0].weight)
        names.append(inspect(data).tensors[0].coding)
        meter = budget.Meter(len(data))
        assert len(list(decode_records(unpack(data), budget=meter))) == 1
        monkeypatch.setattr(budget, "OF_SMALL", meter.spent - 1)
    assert names[0].endswith(("/rans", "/neighbours"))
    assert names[1].endswith("/lanes")
    assert names[2].endswith("/huffman")


def test_who_allows_more_elements_allows_more_work() -> None:
    data = worst.file_of(((1 << 25,), worst.of_symbols("lanes", worst.few_lanes(1 << 25))))
    for allowed in (1 << 25, 1 << 28):
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
