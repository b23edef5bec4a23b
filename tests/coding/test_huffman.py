from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from pithnet.coding import CodingError, entropy_bits, huffman
from pithnet.coding.huffman import ONE_LANE


def _skewed(size: int, levels: int = 16, seed: int = 0) -> np.ndarray:
    p = 0.75 ** np.arange(levels)
    return np.random.default_rng(seed).choice(levels, size, p=p / p.sum()).astype(np.uint8)


@pytest.mark.parametrize(
    "size", [1, 2, 7, 8, 9, 1000, ONE_LANE, ONE_LANE + 1, ONE_LANE + 2, 200_001, 1_000_000]
)
def test_round_trip_with_one_lane_and_with_many(size: int) -> None:
    symbols = _skewed(size)
    decoded = huffman.decode(huffman.encode(symbols), size)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, symbols)


@pytest.mark.parametrize("size", [1000, 65_536, 140_001])
@pytest.mark.parametrize("levels", [257, 65_536])
def test_round_trip_of_large_alphabets(size: int, levels: int) -> None:
    symbols = np.random.default_rng(size).integers(0, levels, size).astype(np.uint16)
    symbols[0] = levels - 1
    decoded = huffman.decode(huffman.encode(symbols), size)
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, symbols)


def test_sixty_five_thousand_levels_a_million_times() -> None:
    symbols = np.random.default_rng(1).integers(0, 65_536, 1_000_000).astype(np.uint16)
    data = huffman.encode(symbols)
    assert len(data) < 1.01 * 2_000_000
    assert np.array_equal(huffman.decode(data, symbols.size), symbols)


@pytest.mark.parametrize("levels", [24, 40])
def test_long_codes_in_many_lanes(levels: int) -> None:
    counts = np.maximum(2 ** np.arange(levels) // 2 ** (levels - 18), 1)  # lengths up to 16 after limiting
    symbols = np.random.default_rng(0).permutation(np.repeat(np.arange(levels), counts)).astype(np.uint8)
    assert symbols.size > ONE_LANE
    assert np.array_equal(huffman.decode(huffman.encode(symbols), symbols.size), symbols)


@pytest.mark.parametrize("size", [500, 100_000, 1_000_000])
def test_size_is_the_entropy_plus_what_a_prefix_code_must_lose(size: int) -> None:
    symbols = _skewed(size)
    best = entropy_bits(np.bincount(symbols)) * size / 8
    assert len(huffman.encode(symbols)) < 1.02 * best + 12


def test_a_constant_costs_a_few_bytes() -> None:
    data = huffman.encode(np.full(10**6, 3, np.uint8))
    assert len(data) <= 5
    assert np.array_equal(huffman.decode(data, 10**6), np.full(10**6, 3))


@pytest.mark.parametrize("size", [1000, 300_000])
def test_truncation_and_appended_bytes_are_noticed(size: int) -> None:
    data = huffman.encode(_skewed(size))
    for damaged in (data[:-1], data[: len(data) // 2], data[:1], b"", data + b"\0"):
        with pytest.raises(CodingError):
            huffman.decode(damaged, size)


def test_a_wrong_count_is_noticed() -> None:
    data = huffman.encode(_skewed(5000))
    for count in (4000, 4990, 5010, 6000, 200_000):
        with pytest.raises(CodingError):
            huffman.decode(data, count)


def test_a_body_longer_than_its_symbols_is_refused_before_its_tables() -> None:
    symbols = np.array([0, 1] * 50, np.uint8)
    data = huffman.encode(symbols)
    assert len(data) == len(huffman.encode(symbols[:2])) + 12  # the longest: each symbol takes all bits
    tracemalloc.start()
    try:
        with pytest.raises(CodingError, match=r"bytes of Huffman codes for 100 symbols"):
            huffman.decode(data + bytes(1 << 20), 100)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_damage_in_many_lanes_ends_in_coding_error_or_the_right_size() -> None:
    symbols = _skewed(ONE_LANE + 999)
    data = huffman.encode(symbols)
    rng = np.random.default_rng(0)
    noticed = 0
    for at in [*range(40), *rng.integers(40, len(data), 40).tolist()]:
        damaged = bytearray(data)
        damaged[at] ^= int(rng.integers(1, 256))
        try:
            assert huffman.decode(bytes(damaged), symbols.size).shape == symbols.shape
        except CodingError:
            noticed += 1
    assert noticed > 50  # nearly all: a lane rarely ends where it should with a code gone wrong
