from __future__ import annotations

import numpy as np
import pytest

from pithnet.coding import (
    SYMBOL_CODERS,
    CodingError,
    average_length,
    decode_symbols,
    encode_symbols,
    entropy_bits,
)


def _smooth_kernels(shape: tuple[int, ...], levels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A mask, and the levels of its non-zeros, where each kernel leans to one side as trained ones do."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(*shape[:2], 1, 1)) + 0.7 * rng.normal(size=shape)
    mask = abs(values) > 0.8
    borders = np.quantile(values[mask], np.arange(1, levels) / levels)
    return mask, np.searchsorted(borders, values[mask])


def test_rans_is_within_half_a_percent_of_the_entropy() -> None:
    p = 0.75 ** np.arange(16)
    symbols = np.random.default_rng(0).choice(16, 20_000, p=p / p.sum())
    name, data = encode_symbols(symbols)
    assert name == "rans"
    assert len(data) < 1.005 * entropy_bits(np.bincount(symbols)) * symbols.size / 8


def test_neighbours_code_smooth_kernels_below_the_order_0_entropy() -> None:
    mask, symbols = _smooth_kernels((32, 32, 3, 3), 8)
    name, data = encode_symbols(symbols, mask=mask)
    assert name == "neighbours"
    assert len(data) < 0.97 * entropy_bits(np.bincount(symbols)) * symbols.size / 8
    assert np.array_equal(decode_symbols(name, data, symbols.size, mask), symbols)


def test_auto_is_never_larger_than_any_method() -> None:
    mask, symbols = _smooth_kernels((16, 16, 3, 3), 4)
    sizes = [len(encode_symbols(symbols, name, mask)[1]) for name in SYMBOL_CODERS]
    assert len(encode_symbols(symbols, mask=mask)[1]) == min(sizes)


def test_encoding_is_deterministic_and_takes_any_integer_type_and_shape() -> None:
    symbols = np.random.default_rng(0).integers(0, 9, (4, 5, 6))
    results = {encode_symbols(symbols.astype(t)) for t in (np.uint8, np.int16, np.int64, np.uint32)}
    assert len(results) == 1
    assert results == {encode_symbols(symbols.ravel())}


@pytest.mark.parametrize(
    ("symbols", "says"),
    [
        (np.array([0, -1]), r"symbols lie in 0 \.\. 65,535, not -1 \.\. 0"),
        (np.array([65_536]), r"symbols lie in 0 \.\. 65,535, not 65536"),
        (np.array([0.5]), "symbols are integers, not float64"),
    ],
)
def test_bad_symbols_are_refused(symbols: np.ndarray, says: str) -> None:
    with pytest.raises(CodingError, match=says):
        encode_symbols(symbols)


def test_unknown_methods_get_the_nearest_name() -> None:
    with pytest.raises(CodingError, match=r"no symbol coder is called 'hufman'\. Did you mean huffman"):
        encode_symbols(np.array([1]), "hufman")
    with pytest.raises(CodingError, match=r"no symbol coder is called 'zip'\. Known: .*huffman"):
        decode_symbols("zip", b"", 3)


def test_methods_say_what_they_cannot_do() -> None:
    with pytest.raises(CodingError, match="rans codes up to 1024 levels, not 2001: use method 'huffman'"):
        encode_symbols(np.array([2000]), "rans")
    with pytest.raises(CodingError, match="'neighbours' codes up to 256 levels, not 301"):
        encode_symbols(np.array([300]), "neighbours", np.ones(1, bool))
    with pytest.raises(CodingError, match="needs to know where the symbols stand: pass the mask"):
        encode_symbols(np.array([3]), "neighbours")
    with pytest.raises(CodingError, match="method 'neighbours' needs to know"):
        decode_symbols("neighbours", b"abc", 1)
    with pytest.raises(CodingError, match="one True for each of the 2 symbols"):
        encode_symbols(np.array([3, 4]), mask=np.ones(3, bool))
    with pytest.raises(CodingError, match="0 or more symbols, not -1"):
        decode_symbols("rans", b"", -1)


def test_average_length_and_entropy_of_a_fair_and_of_a_sure_thing() -> None:
    assert entropy_bits(np.array([5, 5, 5, 5])) == 2.0
    assert entropy_bits(np.array([5, 0])) == 0.0
    assert average_length(np.array([2, 1, 1]), np.array([1, 2, 2])) == 1.5
    assert average_length(np.zeros(3), np.array([1, 2, 2])) == 0.0
