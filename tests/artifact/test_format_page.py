"""docs/format.md says what the code does: numbers, names and limits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pithnet.artifact import budget, coders, container, floats, layout
from pithnet.artifact.codings import CODINGS
from pithnet.artifact.record import decode_record
from pithnet.coding import POSITION_CODERS, SYMBOL_CODERS, encode_symbols

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


def test_codings_have_the_numbers_of_the_page() -> None:
    rows = {int(n): name for n, name in re.findall(r"^\| (\d+) \| ([a-z0-9-]+) \|", PAGE, re.MULTILINE)}
    assert rows == {0: "raw", 1: "deflate"} | {n: c.name for n, c in CODINGS.items()}


@pytest.mark.parametrize("numbers", [coders.SYMBOL_NUMBERS, coders.POSITION_NUMBERS])
def test_coders_have_the_numbers_of_the_page(numbers: dict[str, int]) -> None:
    assert ", ".join(f"{n} {name}" for name, n in numbers.items()) in PAGE


def test_dtypes_have_the_numbers_of_the_page() -> None:
    assert ", ".join(f"{i} {str(d)[6:]}" for i, d in enumerate(layout.DTYPES)) in PAGE


def test_work_is_that_of_the_page() -> None:
    assert f"up to 2**20 bytes may take {budget.OF_SMALL:,}, a larger one {budget.PER_BYTE} for each" in PAGE
    assert budget.allowance(0) == budget.allowance(1 << 20) == budget.OF_SMALL
    assert budget.allowance((1 << 20) + 1) == ((1 << 20) + 1) * budget.PER_BYTE
    entry = layout.Entry("a", (30, 40), torch.float16)
    symbols = np.zeros(1200, int)
    mask = np.ones((30, 40), bool)
    common = 7000 + 600 + 1200 + 1200  # a record, its elements, that they are no float32, and symbols
    for method, own in {
        "rans": 100 * 1 + 50 * 4 + 8000 + 13 * 1200,  # level 1 is below 4: question 3, and three more
        "neighbours": 40 * 1200 + 10 * (10_000 + 200),  # of 16, 24, ..., 410 and 3 symbols
        "huffman": 100 * 1 + 50 * 4 + 1200 // 16,
    }.items():
        stream = encode_symbols(symbols, method, mask)[1]
        own += len(stream) * {"rans": 10, "neighbours": 20}.get(method, 0)
        body = b"\x05\x00\x00" + bytes([coders.SYMBOL_NUMBERS[method]]) + stream
        meter = budget.Meter(0)
        decode_record(body, layout.Record("a", (entry,)), meter.spend)
        assert meter.spent == common + own, method


def test_limits_are_those_of_the_page() -> None:
    assert (container.VERSION, floats.GRID_REACH, budget.MAX_ELEMENTS) == (1, 2**26, 2**28)
    assert SYMBOL_CODERS["rans"].auto_limit == SYMBOL_CODERS["neighbours"].auto_limit == 2**20
    assert POSITION_CODERS["kernels"].auto_limit == 2**25
    assert (SYMBOL_CODERS["lanes"].auto_least, SYMBOL_CODERS["lanes"].auto_limit) == (2**16, 2**30)
    for said in (
        "format version, 1",
        "2**26",
        "2**28",
        "2**20 symbols",
        "lanes: 2**16 symbols to 2**30",
        "kernels: 2**25",
        "at most 4 MiB",
    ):
        assert said in PAGE
