from __future__ import annotations

import pytest

from pithnet.report.headline import conclusion, verdict
from pithnet.results.run_record import Difference, Results

from .runs import RESULTS


@pytest.mark.parametrize(
    ("points", "low", "high", "words"),
    [
        (0.50, 0.10, 0.90, "It is a gain of accuracy: the whole"),
        (-0.33, -0.71, 0.05, "Less than one point of accuracy is lost: the whole"),
        (-0.80, -1.20, -0.40, "as measured, but the 95 % interval reaches -1.20"),
        (
            -1.10,
            -1.50,
            -0.70,
            "or more is lost as measured; the 95 % interval reaches -0.70",
        ),
        (-9.00, -11.25, -6.75, "**More than one point of accuracy is lost**"),
    ],
)
def test_the_verdict_is_no_stronger_than_the_interval(
    points: float, low: float, high: float, words: str
) -> None:
    assert words in verdict(Difference(points=points, low=low, high=high))


def test_a_file_no_smaller_than_the_trivial_ways_says_so() -> None:
    rivals = {"int8 + zstd": {"bytes": 900, "ratio": 22.2}}
    said = conclusion(Results.model_validate({**RESULTS, "rivals": rivals}))
    assert said.endswith("The best trivial way, int8 + zstd, takes 900 bytes, **no more than this file.**")


def test_a_training_has_no_conclusion_about_a_file() -> None:
    assert conclusion(Results.model_validate({"test": RESULTS["after"]})) == ""
