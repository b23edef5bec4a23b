"""How the pages answer a question, and say a number."""

from __future__ import annotations

from typing import NamedTuple

from pithnet.labs.notebook import Row

SETTINGS = "settings"  # the item of what is no item's own


class Answer(NamedTuple):
    """To a question of the lab, from its rows; it stands under the numbers of `item`."""

    item: str
    question: str
    text: str


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def difference(row: Row) -> str:
    """'+0.40 points (95 % interval +0.10 to +0.70)', and that it may be none where the interval allows it."""
    low, high = row["difference_low"], row["difference_high"]
    verdict = ", which this run cannot tell from none" if low <= 0 <= high else ""
    return f"{row['difference']:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}{verdict})"
