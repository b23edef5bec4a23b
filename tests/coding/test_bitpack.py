from __future__ import annotations

import numpy as np
import pytest

from pithnet.coding import CodingError
from pithnet.coding.bitpack import CodeWriter, get_varint, pack_bits, put_varint, unpack_bits


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63 - 1])
def test_varint_round_trip(value: int) -> None:
    assert get_varint(b"x" + put_varint(value) + b"y", 1) == (value, 1 + len(put_varint(value)))


def test_varint_is_leb128() -> None:
    assert put_varint(300) == b"\xac\x02"


@pytest.mark.parametrize("value", [-1, 2**63])
def test_varint_refuses_what_does_not_fit(value: int) -> None:
    with pytest.raises(CodingError, match=r"a varint holds 0 \.\. 2\*\*63 - 1, not"):
        put_varint(value)


@pytest.mark.parametrize(("data", "says"), [(b"\x80", "truncated"), (b"\xff" * 12, "longer than 9 bytes")])
def test_varint_never_runs_on(data: bytes, says: str) -> None:
    with pytest.raises(CodingError, match=says):
        get_varint(data, 0)


@pytest.mark.parametrize("width", [0, 1, 3, 8, 13, 32])
def test_fields_round_trip_without_padding_between_them(width: int) -> None:
    values = np.random.default_rng(width).integers(0, 1 << width, 77)
    data = pack_bits(values, width)
    assert len(data) == -(-77 * width // 8)
    assert np.array_equal(unpack_bits(data, width, 77), values)


def test_fields_refuse_wide_values_and_wrong_sizes() -> None:
    with pytest.raises(CodingError, match="8 does not fit into 3 bits"):
        pack_bits(np.array([1, 8]), 3)
    with pytest.raises(CodingError, match="3 fields of 5 bits need 2 bytes, not 3"):
        unpack_bits(b"abc", 5, 3)


def test_codes_are_concatenated_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 65, 500)
    lengths[:5] = [64, 64, 0, 1, 64]
    values = [int.from_bytes(rng.bytes(8), "big") >> 64 - n if n else 0 for n in lengths.tolist()]
    text = "".join(f"{v:0{n}b}" for v, n in zip(values, lengths.tolist(), strict=True) if n)
    writer = CodeWriter(len(text))
    codes = np.array(values, np.uint64)
    for low, high in [(0, 1), (1, 1), (1, 3), (3, 200), (200, 500)]:
        writer.put(codes[low:high], lengths[low:high])
    text += "0" * (-len(text) % 8)
    assert writer.bytes() == int(text, 2).to_bytes(len(text) // 8, "big")
