"""Records hold what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).resolve().parents[1] / "records"


def curve() -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The record of networks made small without labels, and the points of each by size, largest first."""
    record = json.loads((RECORDS / "label-free-curve" / "results.json").read_text())
    by_network = {
        name: [row for row in found["rows"] if not row["way"].endswith("no data")]
        for name, found in record["networks"].items()
    }
    return record, {
        name: sorted(rows, key=lambda row: -int(row["bytes"])) for name, rows in by_network.items()
    }


def test_fewer_bytes_are_never_nearer_to_the_float_network() -> None:
    _, by_network = curve()
    assert len(by_network["resnet20"]) >= 8
    for name, rows in by_network.items():
        divergences = [row["kl"] for row in rows]
        assert divergences == sorted(divergences), name


def test_at_no_size_of_files_by_bits_is_the_loss_larger() -> None:
    record, by_network = curve()
    for size, accuracy in record["others"]["ResNet-20, 5, 4 and 3 bits everywhere"]:
        ours = next(row for row in by_network["resnet20"] if row["bytes"] <= size)
        assert ours["bytes"] > 0.98 * size
        assert ours["accuracy"] >= accuracy - 0.001


def test_eight_bits_without_data_lose_next_to_nothing() -> None:
    record, _ = curve()
    for name, found in record["networks"].items():
        for row in found["rows"]:
            if row["way"] == "8 bits, no data":
                assert row["accuracy"] >= found["float_accuracy"] - 0.002, name
