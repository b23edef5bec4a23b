from __future__ import annotations

from pithnet.labs.columns import percent_rows
from pithnet.labs.notebook import flat
from pithnet.labs.phrases import difference, percent


def test_settings_are_flattened_to_dotted_names() -> None:
    content = {
        "retrain": {"epochs": 3, "note": None},
        "rates": [0.1, 0.2],
        "steps": [{"prune": 1}, {"share": 2}],
        "e": [],
    }
    assert flat(content) == {
        "retrain.epochs": 3,
        "rates": "0.1, 0.2",
        "steps.1.prune": 1,
        "steps.2.share": 2,
    }


def test_shares_are_shown_in_percent_and_missing_columns_left_out() -> None:
    rows = [{"what": "a", "accuracy": 0.98765, "loss": 0.5, "zeros": 3}, {"what": "b"}]
    shown = percent_rows(rows, {"what": "network", "accuracy": "accuracy %", "zeros": "zeros"})
    assert shown == [{"network": "a", "accuracy %": 98.77, "zeros": 3}, {"network": "b"}]
    assert percent(0.98765) == "98.77 %"


def test_a_difference_says_when_it_may_be_none() -> None:
    sure = {"difference": -1.25, "difference_low": -2.0, "difference_high": -0.5}
    assert difference(sure) == "-1.25 points (95 % interval -2.00 to -0.50)"
    assert difference({**sure, "difference_high": 0.0}).endswith(
        "+0.00, which this run cannot tell from none)"
    )
