"""Scores and differences are said in one way, on pages and in the terminal."""

from __future__ import annotations

from pithnet.results.run_record import Accuracy, Difference


def test_shares_are_said_in_per_cent_and_their_differences_in_points() -> None:
    found = Accuracy(accuracy=0.9142, n=10_000, interval=(0.90853, 0.91954))
    assert (found.score, found.span) == ("91.42 %", "90.85 to 91.95")
    lost = Difference(points=-0.33, low=-0.714, high=0.05)
    assert (lost.gain, lost.span, lost.things) == ("-0.33 points", "-0.71 to +0.05", "images")


def test_other_scores_are_said_in_their_own_unit() -> None:
    found = Accuracy(accuracy=12.34567, n=9, interval=(11.0, 13.5), metric="distance", share=False)
    assert (found.score, found.span) == ("12.35", "11 to 13.5")
    gained = Difference(points=0.12345, low=-0.5, high=1.25, metric="distance", share=False)
    assert (gained.gain, gained.span, gained.things) == ("+0.123", "-0.5 to +1.25", "samples")


def test_a_score_may_have_no_interval() -> None:
    assert Accuracy(accuracy=1.0, n=1).span == ""
