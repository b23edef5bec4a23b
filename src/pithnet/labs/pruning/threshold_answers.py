"""Percentile or standard deviation: which threshold is better, and why."""

from __future__ import annotations

from collections.abc import Sequence

from pithnet.labs.notebook import Notebook, Row
from pithnet.labs.phrases import percent, rivalry


def untrained(book: Notebook) -> str:
    """At exactly equal zeros, without retraining."""
    rows = [r for r in book.of("2") if "rival" in r]
    compared = []
    for row in rows:
        std = book.find("2", row["rival"])
        assert std is not None
        compared.append(
            f"at the zeros of {std['what']} ({percent(row['sparsity'])}) percentile "
            f"{percent(row['accuracy'])}, std {percent(std['accuracy'])}, percentile ahead by {rivalry(row)}"
        )
    return (
        f"{_verdict(rows)} Each std row is compared with a percentile that makes exactly as many zeros in "
        f"the same network, on the same images, without retraining: {'; '.join(compared)}. "
        "Why: a percentile is the share of zeros itself, so one chooses the sparsity, and every layer gives "
        "the same share of its weights. A number of standard deviations fixes the threshold instead, and the "
        "share follows from each layer's distribution: it adapts to the shape, and spares the layers whose "
        "weights are all of a size. But the sparsity is then a result that has to be searched for, and the "
        "layers that lose most are those with heavy tails, however few weights they have and however much "
        "the network depends on them."
    )


def _verdict(rows: Sequence[Row]) -> str:
    ahead = sum(r["rival_difference"] > 0 for r in rows)
    better = sum(r["rival_difference_low"] > 0 for r in rows)
    worse = sum(r["rival_difference_high"] < 0 for r in rows)
    score = (
        f"it is ahead in {ahead} of {len(rows)} comparisons, in {better} beyond the 95 % interval, and "
        f"behind beyond it in {worse}"
    )
    if better and not worse:
        return f"The percentile is the better threshold here: {score}."
    if worse and not better:
        return f"The standard deviation is the better threshold here: of the percentile, {score}."
    return (
        f"Neither threshold is better at every share of zeros; of the percentile, {score}. The percentile is "
        "then the one to choose, because its sparsity is a setting."
    )


def retrained(book: Notebook) -> str:
    """After retraining, against the percentile row with the nearest share of zeros."""
    compared = []
    for row in book.of("3"):
        if "rival" not in row:
            continue
        near = book.find("3", row["rival"])
        assert near is not None
        compared.append(
            f"{row['what']} ({percent(row['sparsity'])} zeros) {percent(row['accuracy'])}, {near['what']} "
            f"({percent(near['sparsity'])} zeros) {percent(near['accuracy'])}: std ahead by {rivalry(row)}"
        )
    return (
        "Each std row beside the retrained percentile with the nearest share of zeros: "
        f"{'; '.join(compared)}. The shares are not the same, and each row is one training: item 2 compares "
        "at equal zeros. The weights that are left learn to do without the others, which makes up for most "
        "of what a threshold chose badly."
    )
