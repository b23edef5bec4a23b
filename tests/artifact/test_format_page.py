"""docs/format.md says what the code does: numbers, names and limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pithnet.artifact import budget, coders, container, floats, layout
from pithnet.artifact.codings import CODINGS
from pithnet.coding import POSITION_CODERS, SYMBOL_CODERS

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


def test_codings_have_the_numbers_of_the_page() -> None:
    rows = {int(n): name for n, name in re.findall(r"^\| (\d+) \| ([a-z0-9-]+) \|", PAGE, re.MULTILINE)}
    assert rows == {0: "raw", 1: "deflate"} | {n: c.name for n, c in CODINGS.items()}


@pytest.mark.parametrize("numbers", [coders.SYMBOL_NUMBERS, coders.POSITION_NUMBERS])
def test_coders_have_the_numbers_of_the_page(numbers: dict[str, int]) -> None:
    assert ", ".join(f"{n} {name}" for name, n in numbers.items()) in PAGE


def test_dtypes_have_the_numbers_of_the_page() -> None:
    assert ", ".join(f"{i} {str(d)[6:]}" for i, d in enumerate(layout.DTYPES)) in PAGE


def test_limits_are_those_of_the_page() -> None:
    assert (container.VERSION, floats.GRID_REACH, budget.MAX_ELEMENTS) == (1, 2**26, 2**28)
    assert SYMBOL_CODERS["rans"].auto_limit == SYMBOL_CODERS["neighbours"].auto_limit == 2**20
    assert POSITION_CODERS["kernels"].auto_limit == 2**25
    for said in ("format version, 1", "2**26", "2**28", "2**20 symbols", "kernels: 2**25", "at most 4 MiB"):
        assert said in PAGE
