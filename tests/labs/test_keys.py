"""A lab's results.json holds the same rows, with the same columns, whatever has become of its code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .files import read_results

KEYS = Path(__file__).parent / "keys"


@pytest.mark.parametrize("lab", ["linear", "pruning", "fixed-point", "deep-compression", "ptq"])
def test_results_have_the_same_rows_and_columns(lab: str, request: pytest.FixtureRequest) -> None:
    """The committed keys are those of the quick lab when its page was still written in Python."""
    results = read_results(request.getfixturevalue(f"{lab.replace('-', '_')}_lab"))
    found: dict[str, object] = {"facts": " ".join(sorted(results))}
    for row in results["rows"]:
        item = found.setdefault(row["item"], {})
        assert isinstance(item, dict)
        item.setdefault(" ".join(sorted(row)), []).append(row["what"])
    assert found == json.loads((KEYS / f"{lab}.json").read_text())
