"""Columns that the tables of several labs have, and how a table shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pithnet.labs.notebook import Row

ACCURACY = {"accuracy": "accuracy %", "low": "from %", "high": "to %"}
POINTS = {"difference": "points vs float", "difference_low": "from", "difference_high": "to"}
RIVAL = {
    "rival": "beside",
    "rival_difference": "points",
    "rival_difference_low": "low",
    "rival_difference_high": "high",
}
_SHARES = (
    "accuracy",
    "sparsity",
    "own_sparsity",
    "low",
    "high",
    "accuracy_before",
    "best_over_test_epochs",
    "agreement",
    "share_of_eager",
    "share_of_float32",
    "within_a_step",
    "zero_share",
    "source_accuracy",
    "source_time",
    "share",
    "removed",
    "untuned",
    "source",
)


def percent_rows(rows: Sequence[Row], columns: Mapping[str, str]) -> list[Row]:
    """Returns rows as a table shows them: of `columns`, renamed; shares in percent, points rounded."""
    return [{title: _shown(key, row[key]) for key, title in columns.items() if key in row} for row in rows]


def _shown(key: str, value: Any) -> Any:
    if not isinstance(value, int | float) or not (key in _SHARES or "difference" in key):
        return value
    return round(100 * value if key in _SHARES else value, 2)
