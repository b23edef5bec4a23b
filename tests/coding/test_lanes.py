"""The coder of large tensors: sizes, every width of blocks, and heads that ask for too much."""

from __future__ import annotations

import numpy as np
import pytest

from pithnet.coding import CodingError, decode_symbols, encode_symbols, lanes, symbols
from pithnet.coding.bitpack import get_varint, put_varint
from pithnet.coding.integer_log import FRACTION, code_length, log2_fixed
from pithnet.coding.lanes_fit import fit
from pithnet.coding.lanes_head import Head
from pithnet.coding.rans import Decoder, Encoder
from pithnet.coding.tiles import blocks_of, cut_of


def _uneven(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """15 levels, mostly the middle one; rows and columns differ in how many of the others they have."""
    rng = np.random.default_rng(seed)
    values = rng.laplace(size=shape)
    for axes in range(1, 3):
        values *= np.exp(rng.normal(size=[n if i < axes else 1 for i, n in enumerate(shape)]) * 0.5)
    return (np.clip(np.rint(values), -7, 7) + 7).astype(np.uint8)


def _everywhere(data: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.True_, data.shape)


def _head(stream: bytes, shape: tuple[int, ...]) -> Head:
    size, at = get_varint(stream, 0)
    return Head.get(Decoder(stream[at : at + size]), cut_of(shape))


def _with_head(head: Head, stream: bytes) -> bytes:
    out = Encoder()
    head.put(out)
    size, at = get_varint(stream, 0)
    return put_varint(len(out.bytes())) + out.bytes() + stream[at + size :]


def test_a_large_tensor_of_uneven_kernels_takes_fewer_bytes_than_with_one_lane() -> None:
    data = _uneven((64, 128, 3, 3))
    name, stream = encode_symbols(data, mask=_everywhere(data))
    assert name == "lanes"
    one_lane = encode_symbols(data, "neighbours", _everywhere(data))[1]
    assert len(stream) < 0.99 * len(one_lane)
    assert np.array_equal(decode_symbols(name, stream, data.size, _everywhere(data)), data.reshape(-1))


def test_below_its_least_size_the_choice_is_as_it_was() -> None:
    data = _uneven((56, 128, 3, 3))
    assert data.size < symbols.SYMBOL_CODERS["lanes"].auto_least
    assert encode_symbols(data, mask=_everywhere(data))[0] != "lanes"


@pytest.mark.parametrize(
    "shape", [(3, 1, 5, 5), (40, 33, 3, 3), (7, 1024, 1, 1), (5, 300), (2, 7), (9_999,), (33, 3, 2, 2, 2)]
)
@pytest.mark.parametrize("levels", [1, 2, 15, 256])
def test_shapes_and_levels_round_trip(shape: tuple[int, ...], levels: int) -> None:
    data = np.minimum(_uneven(shape).astype(int) * levels // 15, levels - 1)
    data.reshape(-1)[-1] = levels - 1
    for mask in (np.ones(shape, bool), np.arange(data.size).reshape(shape) % 3 > 0):
        stream = lanes.encode(data[mask], mask)
        assert np.array_equal(lanes.decode(stream, int(mask.sum()), mask), data[mask])


def test_blocks_cover_all_kernels_and_end_in_few_lanes() -> None:
    for kernels in (5, 8, 100, 5000):
        for n, tail in ((8, 0), (8, 3), (64, 0), (64, 2)):
            blocks = blocks_of(kernels, n, tail)
            if blocks is None:
                assert kernels < tail * (n - 8)
                continue
            assert sum(block.width for block in blocks) == kernels
            assert all(block.width <= block.alive for block in blocks)
            assert blocks[-1].alive == (8 if tail else n)


def test_a_tail_saves_two_bytes_a_lane() -> None:
    data = _uneven((64, 128, 3, 3))
    stream = lanes.encode(data.reshape(-1), data > -1)
    head = _head(stream, data.shape)
    assert head.tail > 0
    without = [states for tail in (head.tail, 0) if (states := _states(data, head._replace(tail=tail)))]
    assert len(without[1]) - len(without[0]) > 1.8 * (head.lanes - 8)


def _states(data: np.ndarray, head: Head) -> bytes:
    cut = cut_of(data.shape)
    known = lanes._identities(data.reshape(cut.kernels, cut.positions), cut, head)
    return lanes._encode_blocks(known, cut, head) or b""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lanes": 1 << 14}, "out of range"),
        ({"lanes": 8}, "8 lanes are too many"),
        ({"levels": [0, 0]}, "out of range"),
        ({"levels": [2] * 257}, "out of range"),
        ({"levels": [1] * 8}, "end|lane"),
        ({"tail": 15, "lanes": 2048}, "more kernels than the tensor"),
        (
            {"classes": 2, "shift": 0, "numbers": np.full(48 + 64, 64)},
            "classes of the lanes are out of range",
        ),
    ],
)
def test_a_head_that_lies_is_refused(change: dict[str, object], says: str) -> None:
    data = _uneven((48, 64, 3, 3))
    stream = lanes.encode(data.reshape(-1), data > -1)
    other = _with_head(_head(stream, data.shape)._replace(**change), stream)
    with pytest.raises(CodingError, match=says):
        lanes.decode(other, data.size, data > -1)


def test_too_many_rows_for_classes_are_refused_before_they_are_read() -> None:
    head = Head(2048, 0, 12, 0, (0, 0, 0), [1], 2, 0, np.zeros(9, np.int64))
    shape = (1 << 16, 1, 3, 3)
    with pytest.raises(CodingError, match="65536 rows and 1 columns are too many for classes"):
        lanes.decode(_with_head(head, b"\0"), 9 << 16, np.broadcast_to(np.True_, shape))


def test_what_is_cut_off_is_refused_wherever_it_is() -> None:
    data = _uneven((20, 20, 3, 3))
    stream = lanes.encode(data.reshape(-1), data > -1)
    for end in range(0, len(stream), 7):
        with pytest.raises(CodingError):
            lanes.decode(stream[:end], data.size, data > -1)
    with pytest.raises(CodingError, match="half a word"):
        lanes.decode(stream + b"\0", data.size, data > -1)
    with pytest.raises(CodingError, match="do not end where"):
        lanes.decode(stream + b"\0\0", data.size, data > -1)


def test_the_filler_must_be_the_most_frequent_symbol() -> None:
    data = np.append(np.zeros(63, np.uint8), np.uint8(1))
    head, _ = fit(data, cut_of((64,)))
    stream = _with_head(head, b"\0" + _states(data, head))
    assert np.array_equal(lanes.decode(stream, 64, np.ones(64, bool)), data)
    with pytest.raises(CodingError, match="fills up the last tile"):
        lanes.decode(stream, 63, np.ones(63, bool))


def test_logarithms_in_integers_are_near_the_exact_ones() -> None:
    numbers = np.array([1, 2, 3, 1000, 1023, 1024, 1025, 123_456, (1 << 40) + 12_345])
    error = log2_fixed(numbers) / (1 << FRACTION) - np.log2(numbers)
    assert error.max() <= 1e-9
    assert error.min() > -0.0015
    assert log2_fixed(numbers)[[0, 1, 5]].tolist() == [0, 1 << FRACTION, 10 << FRACTION]
    assert int(code_length(np.array([[4, 4, 0, 8], [0, 0, 0, 9]])).sum()) == 24 << FRACTION
