from __future__ import annotations

import numpy as np
import pytest

from pithnet.coding import CodingError
from pithnet.coding.rans import TOTAL, Decoder, Encoder
from pithnet.coding.smallints import get_vector, put_vector


def test_decisions_come_back_in_order_at_their_information_content() -> None:
    rng = np.random.default_rng(0)
    p0 = rng.integers(1, TOTAL, 4000)
    bits = (rng.random(4000) * TOTAL >= p0).astype(int)
    out = Encoder()
    for bit, p in zip(bits.tolist(), p0.tolist(), strict=True):
        out.put_bit(bit, p)
    data = out.bytes()
    ideal = -np.log2(np.where(bits, TOTAL - p0, p0) / TOTAL).sum() / 8
    assert ideal < len(data) < ideal * 1.001 + 2
    stream = Decoder(data)
    assert [stream.bit(p) for p in p0.tolist()] == bits.tolist()
    stream.finish()


def test_nothing_costs_nothing() -> None:
    assert Encoder().bytes() == b""
    Decoder(b"").finish()


@pytest.mark.parametrize("values", [[0], [255], [1, 255, 1], [0] * 500, [*range(256)], [3, 3, 2, 4, 0, 0, 5]])
def test_vectors_round_trip(values: list[int]) -> None:
    out = Encoder()
    put_vector(out, values)
    stream = Decoder(out.bytes())
    assert get_vector(stream) == values
    stream.finish()


def test_code_lengths_of_sixteen_symbols_take_a_few_bytes() -> None:
    out = Encoder()
    put_vector(out, [6, 6, 5, 4, 4, 3, 3, 3, 3, 3, 3, 4, 4, 5, 6, 6])
    assert len(out.bytes()) <= 7


def test_an_unfinished_stream_is_noticed() -> None:
    out = Encoder()
    out.put_field(12345, 16)
    stream = Decoder(out.bytes())
    stream.field(8)
    with pytest.raises(CodingError, match="does not end where its symbols do"):
        stream.finish()


def test_an_alphabet_beyond_65536_is_refused_both_ways() -> None:
    with pytest.raises(CodingError, match="at most 65,536 symbols, not 65537"):
        put_vector(Encoder(), [1] * 65_537)
    out = Encoder()
    out.put_field(31, 5)
    with pytest.raises(CodingError, match="larger than 65,536 symbols"):
        get_vector(Decoder(out.bytes()))
