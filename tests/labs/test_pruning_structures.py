"""Item 7 of `lab pruning`: as many weights in every structure, and what is cut is really gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pithnet import zoo
from pithnet.labs.footprint import memory_bytes
from pithnet.labs.notebook import Notebook
from pithnet.labs.pruning import experiment as pruning
from pithnet.labs.pruning.structures import hidden_layers
from pithnet.labs.writing import names_of, paragraph
from pithnet.run.progress import Quiet

from .conftest import STRUCTURES
from .files import check_sentences, named_rows, read_csv, read_results

WEIGHTS = {"digits-cnn": 56_224, "two hidden layers": 64 * 128 + 128 * 128 + 128 * 10}


@pytest.fixture
def found(pruning_lab: Path) -> dict[str, dict[str, Any]]:
    return named_rows(read_results(pruning_lab), "7")


def test_every_structure_loses_the_weights_that_the_cut_takes(found: dict[str, dict[str, Any]]) -> None:
    assert tuple(found) == STRUCTURES
    for row in found.values():
        assert row["removed"] == 1 - row["weights"] / WEIGHTS[row["network"]]
    for network, cut in (("digits-cnn", "channels"), ("two hidden layers", "neurons")):
        left = {row["structure"]: row["weights"] for row in found.values() if row["network"] == network}
        assert left["nothing"] == WEIGHTS[network]
        assert left["weights"] == left[cut]
        # At most half of the parameters stay, and one more channel in the widest layer would be too many.
        assert 0.5 <= found[f"{network}, {cut}"]["removed"] < 0.55
    # A layer loses the whole groups nearest to its share: at most half a group is missed in each.
    exact = found["digits-cnn, weights"]["weights"]
    assert abs(found["digits-cnn, kernels"]["weights"] - exact) <= 3 * 9 / 2 + 1
    assert abs(found["digits-cnn, filters"]["weights"] - exact) <= (9 + 9 * 32 + 9 * 64) / 2 + 1
    # The smallest weights, kernels and filters of the same network: their zeros are whole groups.
    assert found["digits-cnn, filters"]["weights"] % 9 == 640 % 9


def test_zeros_make_the_file_smaller_and_cuts_all_else_too(found: dict[str, dict[str, Any]]) -> None:
    whole, cut = found["digits-cnn, nothing"], found["digits-cnn, channels"]
    assert whole["memory_bytes"] == memory_bytes(zoo.build("digits-cnn"))
    for structure in ("weights", "kernels", "filters"):
        row = found[f"digits-cnn, {structure}"]
        assert (row["memory_bytes"], row["macs"]) == (whole["memory_bytes"], whole["macs"])
        assert row["bytes"] < 0.6 * whole["bytes"]
    # Half of the weights are half of the multiply-accumulates, as all of these layers have 3 x 3 kernels.
    assert cut["macs"] < 0.6 * whole["macs"]
    assert cut["memory_bytes"] < 0.51 * whole["memory_bytes"]
    assert cut["bytes"] < 0.6 * whole["bytes"]
    mlp, neurons = found["two hidden layers, nothing"], found["two hidden layers, neurons"]
    assert mlp["memory_bytes"] == memory_bytes(hidden_layers(128)) == 4 * (25_856 + 128 + 128 + 10)
    # Hidden layers of w neurons keep 64 w + w w + 10 w weights: 82 of 128 are within half.
    assert neurons["weights"] == 64 * 82 + 82 * 82 + 82 * 10
    assert (mlp["macs"], neurons["macs"]) == (25_856, neurons["weights"])  # of one image
    assert neurons["memory_bytes"] == 4 * (neurons["weights"] + 82 + 82 + 10)


def test_rows_say_what_training_brings_back(found: dict[str, dict[str, Any]]) -> None:
    for row in found.values():
        whole = found[f"{row['network']}, nothing"]
        assert row["difference"] == pytest.approx(100 * (row["accuracy"] - whole["accuracy"]))
        if row["structure"] == "nothing":
            assert row["untuned"] == row["accuracy"]
            continue
        assert row["epochs"] == 1
        assert row["masks_exact"] is True
        assert row["best_over_test_epochs"] >= row["accuracy"]
        if row["structure"] != "weights":
            beside = found[row["rival"]]
            assert (beside["structure"], beside["network"]) == ("weights", row["network"])
            assert row["rival_difference"] == pytest.approx(100 * (row["accuracy"] - beside["accuracy"]))
    # Half of the parameters gone, and an epoch wins back 0.38 at least over five seeds.
    channels = found["digits-cnn, channels"]
    assert channels["accuracy"] > channels["untuned"] + 0.2


def test_the_page_says_what_the_rows_say(pruning_lab: Path, found: dict[str, dict[str, Any]]) -> None:
    results = read_results(pruning_lab)
    facts = {key: value for key, value in results.items() if key != "rows"}
    book = Notebook(pruning_lab, facts, resume=True, progress=Quiet())
    said = paragraph(pruning.EXPERIMENT, "7", names_of(pruning.EXPERIMENT, book))
    check_sentences(" ".join(said.split()))
    assert "So 50 % of the parameters go with about 29 % of the channels" in " ".join(said.split())
    row = found["digits-cnn, kernels"]
    assert f"{100 * row['untuned']:.2f} % untuned and {100 * row['accuracy']:.2f} % after training" in said
    assert "and 1.000 with channels cut, which is 1.00 times as fast" in said  # the fixture's times
    assert [r["what"] for r in read_csv(pruning_lab / "item7-costs.csv")] == list(STRUCTURES)
    book.close()
