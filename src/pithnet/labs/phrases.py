"""How the pages say a number: the filters of their templates."""

from __future__ import annotations

from collections.abc import Sequence

from pithnet.labs.notebook import Row


def percent(share: float) -> str:
    """Says a share in per cent: '91.25 %'."""
    return f"{100 * share:.2f} %"


def difference(row: Row) -> str:
    """Says '+0.40 points (95 % interval +0.10 to +0.70)', and where that may be none."""
    low, high = row["difference_low"], row["difference_high"]
    verdict = ", which this run cannot tell from none" if low <= 0 <= high else ""
    return f"{row['difference']:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}{verdict})"


def rivalry(row: Row) -> str:
    """Says what the row gains over its rival, in points with their interval."""
    keys = ("difference", "difference_low", "difference_high")
    return difference({key: row[f"rival_{key}"] for key in keys})


def brief(row: Row, of: str = "difference") -> str:
    """Says points and their 95 % interval: '-0.60 (-1.47 to +0.27)'."""
    return f"{row[of]:+.2f} ({row[f'{of}_low']:+.2f} to {row[f'{of}_high']:+.2f})"


def score(rows: Sequence[Row]) -> str:
    """Says how rows compare with their rivals: "is ahead in 3 of 4 comparisons (in 1 by more than ..."."""
    ahead = [r for r in rows if r["rival_difference"] > 0]
    sure = sum(r["rival_difference_low"] > 0 for r in ahead)
    behind = sum(r["rival_difference_high"] < 0 for r in rows)
    return (
        f"is ahead in {len(ahead)} of {len(rows)} comparisons (in {sure} by more than the interval), and "
        f"behind by more than the interval in {behind}"
    )


def listed(values: Sequence[object], form: str = "") -> str:
    """Lists values in a sentence, each in the given format: '1, 3, 3 and 3'."""
    texts = [format(v, form) for v in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def taught_by(teacher: Row) -> str:
    """Says whose answers the trainings learn from, by results.json's "teacher": 'from the labels alone'."""
    match teacher["kind"]:
        case "none":
            return "from the labels alone, without a teacher"
        case "self":
            return "taught by the answers of the float network (0.9 of the loss)"
    return f"taught by the answers of {teacher['architecture']} in `{teacher['file']}` (0.9 of the loss)"
