"""decode(encode(x)) == x for every coder in the registries.

No stream, however damaged, does worse than CodingError or an array of the right size.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pithnet.coding import (
    POSITION_CODERS,
    SYMBOL_CODERS,
    CodingError,
    average_length,
    decode_positions,
    decode_symbols,
    encode_positions,
    encode_symbols,
    entropy_bits,
)
from pithnet.coding.prefix import code_lengths

_quick = settings(max_examples=40, deadline=None)
_SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)


@st.composite
def masked_symbols(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A mask of any shape and one symbol for each of its true positions."""
    mask = draw(hnp.arrays(np.bool_, _SHAPES))
    top = draw(st.sampled_from([0, 1, 3, 15, 255]))
    return mask, draw(hnp.arrays(np.uint8, int(mask.sum()), elements=st.integers(0, top)))


@pytest.mark.parametrize("method", [*SYMBOL_CODERS, "auto"])
@_quick
@given(data=masked_symbols())
def test_symbols_round_trip(method: str, data: tuple[np.ndarray, np.ndarray]) -> None:
    mask, symbols = data
    name, stream = encode_symbols(symbols, method, mask)
    decoded = decode_symbols(name, stream, symbols.size, mask)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, symbols)


@_quick
@given(symbols=hnp.arrays(np.int64, hnp.array_shapes(min_side=0), elements=st.integers(0, 65_535)))
def test_any_integers_round_trip(symbols: np.ndarray) -> None:
    name, stream = encode_symbols(symbols)
    decoded = decode_symbols(name, stream, symbols.size)
    assert decoded.dtype == (np.uint8 if symbols.size == 0 or symbols.max() < 256 else np.uint16)
    assert np.array_equal(decoded, symbols.ravel())


@pytest.mark.parametrize("method", [*POSITION_CODERS, "auto"])
@_quick
@given(
    mask=hnp.arrays(np.bool_, _SHAPES, fill=st.nothing())
    | hnp.arrays(np.bool_, _SHAPES, elements=st.just(True))
)
def test_positions_round_trip(method: str, mask: np.ndarray) -> None:
    if method == "constant" and mask.any() != mask.all():
        mask = np.zeros_like(mask)
    name, stream = encode_positions(mask, method)
    decoded = decode_positions(name, stream, mask.shape)
    assert decoded.dtype == np.bool_
    assert decoded.shape == mask.shape
    assert np.array_equal(decoded, mask)


def _heap_huffman_cost(counts: list[int]) -> int:
    """Coded bits of an optimal code: the sum of all inner nodes."""
    heap = [n for n in counts if n]
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        node = heapq.heappop(heap) + heapq.heappop(heap)
        cost += node
        heapq.heappush(heap, node)
    return cost


@_quick
@given(counts=st.lists(st.integers(0, 10**6), min_size=2, max_size=60))
def test_huffman_is_optimal_and_within_one_bit_of_the_entropy(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts), limit=60).astype(int)
    assert int(np.array(counts) @ lengths) == _heap_huffman_cost(counts)
    entropy = entropy_bits(np.array(counts))
    assert entropy - 1e-9 <= average_length(np.array(counts), lengths) < entropy + 1


@_quick
@given(counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=60), limit=st.integers(6, 16))
def test_limited_codes_are_complete_and_keep_the_limit(counts: list[int], limit: int) -> None:
    lengths = code_lengths(np.array(counts), limit)
    assert lengths.max() <= limit
    assert (0.5 ** lengths.astype(float)).sum() == 1.0


def _damaged(stream: bytes, at: int, flip: int, cut: int, tail: bytes) -> bytes:
    data = bytearray(stream)
    if data:
        data[at % len(data)] ^= flip
    return bytes(data[: len(data) - cut % (len(data) + 1)]) + tail


def _attempt(decode: Callable[[], np.ndarray]) -> np.ndarray | None:
    """What was decoded, or None where CodingError says why not."""
    try:
        return decode()
    except CodingError:
        return None


_damage = {
    "at": st.integers(0, 4000),
    "flip": st.integers(0, 255),
    "cut": st.just(0) | st.integers(0, 4000),
    "tail": st.binary(max_size=6),
}


def _plain_symbols() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = rng.random((12, 10, 3, 3)) < 0.4
    return mask, rng.binomial(15, 0.4, int(mask.sum()))


@pytest.mark.parametrize("method", SYMBOL_CODERS)
@settings(max_examples=60, deadline=None)
@given(count_off=st.sampled_from([0, 0, 0, -1, 7, 20_000]), **_damage)
def test_damaged_symbols_end_in_coding_error_or_the_right_size(
    method: str, count_off: int, at: int, flip: int, cut: int, tail: bytes
) -> None:
    mask, symbols = _plain_symbols()
    stream = _damaged(encode_symbols(symbols, method, mask)[1], at, flip, cut, tail)
    needs_mask = SYMBOL_CODERS[method].needs_mask
    count = symbols.size if needs_mask else symbols.size + count_off
    decoded = _attempt(lambda: decode_symbols(method, stream, count, mask if needs_mask else None))
    assert decoded is None or decoded.shape == (count,)


@pytest.mark.parametrize("method", SYMBOL_CODERS)
@settings(max_examples=60, deadline=None)
@given(stream=st.binary(max_size=40), count=st.sampled_from([1, 50, 3000]))
def test_random_bytes_as_symbols(method: str, stream: bytes, count: int) -> None:
    mask = np.ones(count, bool) if SYMBOL_CODERS[method].needs_mask else None
    decoded = _attempt(lambda: decode_symbols(method, stream, count, mask))
    assert decoded is None or decoded.shape == (count,)


@pytest.mark.parametrize("method", POSITION_CODERS)
@settings(max_examples=60, deadline=None)
@given(shape=st.sampled_from([(12, 10, 3, 3), (12, 10, 3, 3), (7, 5), (1000,), (), (0, 4)]), **_damage)
def test_damaged_positions_end_in_coding_error_or_the_right_shape(
    method: str, shape: tuple[int, ...], at: int, flip: int, cut: int, tail: bytes
) -> None:
    mask, _ = _plain_symbols()
    stream = _damaged(
        encode_positions(mask if method != "constant" else mask & False, method)[1], at, flip, cut, tail
    )
    decoded = _attempt(lambda: decode_positions(method, stream, shape))
    assert decoded is None or (decoded.shape == shape and decoded.dtype == np.bool_)
