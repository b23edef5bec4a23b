from __future__ import annotations

import math

import numpy as np
import pytest

from pithnet.report.numbers import column_texts, is_numeric


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.9153, 0.9, None], ["0.9153", "0.9000", "–"]),
        ([91.53, 91.5], ["91.53", "91.50"]),
        ([0.25, 0.5], ["0.25", "0.50"]),
        ([70.0, 80.0], ["70", "80"]),
        ([1084392, 36061], ["1,084,392", "36,061"]),
        ([36061, 0.916], ["36,061", "0.916"]),
        ([100.0, 0.00123], ["100", "0.0012"]),
        ([0.9999, 0.99995], ["0.9999", "1.0000"]),
        ([3.0e-7], ["3e-07"]),
        ([2.5e20], ["2.500e+20"]),
        ([0.0, -0.5], ["0.0", "-0.5"]),
        ([math.nan, math.inf, -math.inf, 1.5], ["NaN", "∞", "-∞", "1.5"]),
        ([True, False], ["yes", "no"]),
        ([[0.9119, 0.9227]], ["0.9119 to 0.9227"]),
        ([[1, 2, 3]], ["1, 2, 3"]),
        ([list(range(20))], ["0, 1, 2, 3, 4, 5, … (20 in all)"]),
        ([{"a": 0.5, "b": 1}], ["a 0.5, b 1"]),
        ([np.float32(0.5), np.int64(1234), np.bool_(True)], ["0.5", "1,234", "yes"]),
        ([], []),
    ],
)
def test_columns_read_as_people_write_them(values: list[object], texts: list[str]) -> None:
    assert column_texts(values) == texts


def test_numbers_and_intervals_are_numeric_but_not_flags_or_lists() -> None:
    assert [is_numeric(v) for v in (1, 0.5, [0.1, 0.2], True, "1", [1, 2, 3], [[1, 2], 3])] == [
        True, True, True, False, False, False, False,
    ]  # fmt: skip
