from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from pithnet.report.waterfall import PARTS, Stage, stages
from pithnet.results.run_record import Results

from .runs import RESULTS

RECORD = Path(__file__).parents[2] / "records" / "resnet20-public-28x" / "results.json"


def _stages(results: Any) -> dict[str, Stage]:
    return {stage.name: stage for stage in stages(Results.model_validate(results))}


def test_stages_are_what_their_definitions_say() -> None:
    found = _stages(RESULTS)
    assert list(found) == ["float32", "pruned", "shared", "coded", "normalisation", "file"]
    # conv1 keeps 27 of 108 weights on 6 levels, linear 886 of 4886 on 3; 6 numbers are no weights.
    assert found["float32"].bytes == 20_000
    bitmap = math.ceil(108 / 8) + math.ceil(4886 / 8)
    assert found["pruned"].bytes == 4 * (27 + 886) + bitmap + 4 * 6
    indices = math.ceil(27 * 3 / 8) + math.ceil(886 * 2 / 8)
    assert found["shared"].bytes == indices + 4 * (6 + 3) + bitmap + 4 * 6
    assert found["coded"].bytes == 545 + 302 + 4 * 6
    assert found["normalisation"].bytes == 545 + 302 + 61 + 30
    assert found["file"].bytes == 1000
    assert found["file"].parts == dict(zip(PARTS, (500, 280, 60, 91, 69, 0), strict=True))


def test_a_layer_that_sharing_does_not_shrink_stays_float() -> None:
    results = copy.deepcopy(RESULTS)
    results["tensors"][0]["levels"] = 27
    shared = _stages(results)["shared"].parts
    assert (shared["values"], shared["levels"]) == (4 * 27 + math.ceil(886 * 2 / 8), 4 * 3)


def test_a_network_made_smaller_has_a_stage_for_what_is_kept() -> None:
    found = _stages({**RESULTS, "float_bytes": 50_000})
    assert [stage.bytes for stage in found.values()][:2] == [50_000, 20_000]
    assert found["float32"].parts["unsplit"] == 50_000


def test_tied_weights_count_once() -> None:
    results = copy.deepcopy(RESULTS)
    tied = {**results["tensors"][2], "name": "head.weight", "coding": "tied to linear.weight", "bits": 0.0}
    results["tensors"].append({**tied, "bytes": dict.fromkeys(tied["bytes"], 0)})
    assert [s.bytes for s in _stages(results).values()] == [s.bytes for s in _stages(RESULTS).values()]


def test_of_a_real_run_the_last_stage_is_the_file_to_the_byte() -> None:
    results = json.loads(RECORD.read_text())
    found = _stages(results)
    assert found["float32"].bytes == results["float_bytes"]
    assert found["file"].bytes == results["bytes"]
    frame = results["parts"]["header"] + results["parts"]["checksums"]
    assert found["normalisation"].bytes == results["bytes"] - frame
    sizes = [stage.bytes for stage in found.values()]
    assert sizes[:5] == sorted(sizes[:5], reverse=True)


@pytest.mark.parametrize("lacks", ["parts", "tensors", "float_bytes", "bytes"])
def test_without_an_account_of_every_byte_there_are_no_stages(lacks: str) -> None:
    assert _stages({k: v for k, v in RESULTS.items() if k != lacks}) == {}
    assert _stages({**RESULTS, "bytes": 1001}) == {}
