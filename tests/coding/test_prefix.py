from __future__ import annotations

import numpy as np
import pytest

from pithnet.coding import CodingError
from pithnet.coding.prefix import canonical_codes, code_lengths, decode_table


def test_lengths_of_a_textbook_example() -> None:
    assert code_lengths(np.array([45, 13, 12, 16, 9, 5])).tolist() == [1, 3, 3, 3, 4, 4]


def test_length_limit_is_kept_and_best_under_it() -> None:
    counts = np.array([1, 1, 2, 4, 8, 16, 32])  # unlimited: 6, 6, 5, 4, 3, 2, 1
    assert code_lengths(counts).tolist() == [6, 6, 5, 4, 3, 2, 1]
    limited = code_lengths(counts, 4)
    assert limited.max() == 4
    assert (0.5 ** limited.astype(float)).sum() == 1.0
    best = min(  # every complete code with lengths 1..4, by brute force over sorted length vectors
        counts @ np.array(lengths)
        for lengths in _non_increasing(len(counts), 4)
        if sum(0.5**n for n in lengths) == 1.0
    )
    assert counts @ limited.astype(int) == best


def _non_increasing(size: int, top: int) -> list[tuple[int, ...]]:
    if size == 0:
        return [()]
    return [(n, *rest) for n in range(1, top + 1) for rest in _non_increasing(size - 1, n)]


def test_absent_symbols_have_no_code_and_a_single_one_no_bits() -> None:
    assert code_lengths(np.array([0, 3, 0, 3])).tolist() == [0, 1, 0, 1]
    assert code_lengths(np.array([0, 7])).tolist() == [0, 0]


def test_too_short_a_limit_is_refused() -> None:
    with pytest.raises(CodingError, match="5 symbols need more than 2 bits each"):
        code_lengths(np.ones(5, int), 2)


def test_canonical_codes_are_ordered_and_prefix_free() -> None:
    lengths = np.array([2, 0, 1, 3, 3])
    codes = canonical_codes(lengths)
    assert [f"{c:0{n}b}" for c, n in zip(codes.tolist(), lengths.tolist(), strict=True) if n] == [
        "10",
        "0",
        "110",
        "111",
    ]


@pytest.mark.parametrize("lengths", [[1, 2], [1, 1, 1], [2, 2, 2]])
def test_incomplete_and_overfull_codes_are_refused(lengths: list[int]) -> None:
    with pytest.raises(CodingError, match="do not form a complete prefix code"):
        canonical_codes(np.array(lengths))


def test_lengths_above_sixteen_are_refused() -> None:
    with pytest.raises(CodingError, match="code lengths go up to 16, not 17"):
        canonical_codes(np.array([1, 17]))


def test_decode_table_lists_the_code_each_window_begins_with() -> None:
    symbol, length, bits = decode_table(np.array([2, 0, 1, 2], np.uint8))
    assert bits == 2
    assert symbol.tolist() == [2, 2, 0, 3]
    assert length.tolist() == [1, 1, 2, 2]
