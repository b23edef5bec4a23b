"""Format 1.0 is frozen: its tables on the page, in the code and in frozen.py are the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from artifact import frozen
from pithnet.artifact import coders, container, layout
from pithnet.artifact.codings import CODINGS
from pithnet.coding import POSITION_CODERS, SYMBOL_CODERS

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


def _listed(text: str) -> dict[int, str]:
    """The numbers of a list: 1 huffman, 2 rans."""
    return {int(number): name for number, name in re.findall(r"(\d+) ([a-z0-9-]+)", text)}


def _told() -> dict[str, Any]:
    """The tables of docs/format.md."""
    symbols, positions = re.findall(r"^\| (1 huffman.*?) \| (1 constant.*?) \|$", PAGE, re.M)[0]
    dtypes = re.findall(r"^Dtypes: (.*)\.$", PAGE, re.M)[0]
    versions = re.findall(r"^\| \d+\.\d+ \| ([\d, ]+) \|", PAGE, re.M)[-1]
    keys = re.findall(r"^\| ((?:`[a-z]`(?:, )?)+) \|", PAGE, re.M)
    return {
        "codings": {int(n): name for n, name in re.findall(r"^\| (\d+) \| ([a-z0-9-]+) \|", PAGE, re.M)},
        "coders of symbols": _listed(symbols),
        "coders of positions": _listed(positions),
        "dtypes": _listed(dtypes),
        "keys of the header": re.findall("[a-z]", " ".join(keys)),
        "version bytes": [int(byte) for byte in versions.split(", ")],
    }


def _coded() -> dict[str, Any]:
    """The same of the code, but for the header's keys, of which it has no list."""
    return {
        "codings": {0: "raw", 1: "deflate"} | {n: coding.name for n, coding in CODINGS.items()},
        "coders of symbols": {n: name for name, n in coders.SYMBOL_NUMBERS.items()},
        "coders of positions": {n: name for name, n in coders.POSITION_NUMBERS.items()},
        "dtypes": {n: str(dtype).removeprefix("torch.") for n, dtype in enumerate(layout.DTYPES)},
        "version bytes": [container.VERSION, container.VERSION_WITH_WIDTHS],
    }


FROZEN = {
    "codings": frozen.CODINGS,
    "coders of symbols": frozen.SYMBOL_CODERS,
    "coders of positions": frozen.POSITION_CODERS,
    "dtypes": frozen.DTYPES,
    "keys of the header": frozen.HEADER_KEYS,
    "version bytes": frozen.VERSION_BYTES,
}


@pytest.mark.parametrize("table", FROZEN)
def test_the_page_tells_what_is_frozen(table: str) -> None:
    assert _told()[table] == FROZEN[table], frozen.changed(f"the table of {table} in docs/format.md")


@pytest.mark.parametrize("table", sorted(_coded()))
def test_the_code_has_what_is_frozen(table: str) -> None:
    assert _coded()[table] == FROZEN[table], frozen.changed(f"the table of {table} in the code")


def test_every_number_has_its_coder_still() -> None:
    assert set(SYMBOL_CODERS) == set(frozen.SYMBOL_CODERS.values())
    assert set(POSITION_CODERS) == set(frozen.POSITION_CODERS.values())


def test_the_page_counts_what_is_frozen() -> None:
    assert f"dtypes 0 to {len(frozen.DTYPES) - 1}, {len(frozen.LAYOUTS)} architectures |" in PAGE
    assert f"codings 0 to {len(frozen.CODINGS) - 1}, symbol coders 1 to {len(frozen.SYMBOL_CODERS)}, " in PAGE
    assert f"position coders 1 to {len(frozen.POSITION_CODERS)}, " in PAGE
