from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pithnet.errors import PithError
from pithnet.report import write_report
from pithnet.report.run_record import Difference, read_run
from pithnet.report.run_report import verdict

from .reader import Reader
from .runs import EVENTS, RESULTS, write_run


def _read(path: Path) -> Reader:
    return Reader(path.read_text("utf-8"))


def test_report_says_what_the_run_measured(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=EVENTS, recipe="name: deep-compression\n")
    path = write_report(run)
    assert path == run / "report.html"
    read = _read(path)
    for expected in (
        "1,000 bytes",
        "20.0x",
        "91.75 → 91.42 %",
        "on 10,000 test images, 95 % interval 90.85 to 91.95",
        "-0.33 points",
        "95 % interval -0.71 to +0.05",
        "43.2x",
        "9,000 (2.2x)",
        "500 (50.0 %)",
        "3 epochs in 25 s, 60 images/s.",
        "Vectors (biases, normalisation; 1 in all): 22 bytes",
    ):
        assert expected in read.text, expected
    assert read.all_of("pre") == ["pithnet compress --model resnet20", "name: deep-compression"]
    assert read.tables[-1][-2:] == [["processor", "A <fast> one"], ["cores", "2"]]
    assert read.addresses == [a for a in read.addresses if a.startswith("#")], "nothing is fetched"


def test_layer_table_adds_up(tmp_path: Path) -> None:
    read = _read(write_report(write_run(tmp_path / "run")))
    weights = read.tables[1]
    columns = weights[0]
    conv, total = (dict(zip(columns, row, strict=True)) for row in weights[1:])
    assert (conv["tensor"], conv["shape"], conv["zeros (%)"], conv["bytes"]) == (
        "conv1",
        "4×3×3×3",
        "75",
        "108",
    )
    assert (total["values"], total["zeros"], total["bits each"], total["bytes"]) == ("108", "81", "8", "108")


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    bare = {k: RESULTS[k] for k in ("bytes", "float_bytes")}
    read = _read(write_report(write_run(tmp_path / "run", bare), tmp_path / "elsewhere.html"))
    assert "20.0x" in read.text
    for absent in ("Accuracy", "Training", "Layers", "interval", "formula", "None", "What was done"):
        assert absent not in read.text, absent


def test_a_training_has_a_report_too(tmp_path: Path) -> None:
    results = {
        "kind": "train",
        "model": "resnet20",
        "dataset": "digits",
        "test": RESULTS["after"],
        "epochs": 3,
    }
    results["measured_on"] = "200 held-out training images"
    read = _read(write_report(write_run(tmp_path / "run", results, EVENTS)))
    assert read.all_of("h1") == ["resnet20, trained"]
    assert "91.42 %" in read.text
    assert "on 200 held-out training images, 95 %" in read.text
    assert "bytes" not in read.text


def test_a_resumed_run_counts_each_epoch_once_and_survives_a_broken_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=[EVENTS[0], {**EVENTS[0], "loss": 9.0}, *EVENTS[1:]])
    with open(run / "events.jsonl", "a") as log:
        log.write('{"event": "epoch", "num')
    record = read_run(run)
    assert [(e.number, e.epoch, e.loss) for e in record.epochs] == [(0, 1, 9.0), (0, 2, 1.25), (1, 1, 1.0)]
    assert record.unreadable == 1
    assert "left out because they are broken: 1." in _read(write_report(run)).text


def test_a_file_changed_since_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "model.pith").write_bytes(bytes(1000))
    assert "was changed" not in _read(write_report(run)).text
    (run / "model.pith").write_bytes(bytes(999))
    assert "has 999 bytes now," in _read(write_report(run)).text


@pytest.mark.parametrize(
    ("points", "low", "high", "words"),
    [
        (-0.33, -0.71, 0.05, "Less than one point is lost: the whole"),
        (-0.80, -1.20, -0.40, "as measured, but the 95 % interval reaches -1.20"),
        (-1.10, -1.50, -0.70, "A point or more is lost as measured; the 95 % interval reaches -0.70"),
        (-9.00, -11.25, -6.75, "**More than one point is lost**"),
    ],
)
def test_the_verdict_is_no_stronger_than_the_interval(
    points: float, low: float, high: float, words: str
) -> None:
    assert words in verdict(Difference(points=points, low=low, high=high))


def _damaged(path: tuple[str | int, ...], value: Any) -> Any:
    results = copy.deepcopy(RESULTS)
    at: Any = results
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return results


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (_damaged(("bytes",), "many"), r"results.json is damaged: bytes: Input should be a valid integer"),
        (_damaged(("tensors", 0, "shape"), 3), r"damaged: tensors\.0\.shape: .*; run the compression again"),
        ([], r"damaged: the whole: "),
        ({"rows": []}, r"is of no compression or training: it has neither bytes nor a test accuracy"),
    ],
)
def test_damaged_results_name_the_fault(tmp_path: Path, results: Any, message: str) -> None:
    with pytest.raises(PithError, match=message):
        write_report(write_run(tmp_path / "run", results))
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(PithError, match=r"holds no run: it has no results.json; give the --out folder"):
        write_report(tmp_path)
    with pytest.raises(PithError, match=r"there is no folder .*none; give the --out folder of a run"):
        write_report(tmp_path / "none")
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(PithError, match=r"is not finished: it has no results.json; continue it with"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text('{"bytes": 10')
    with pytest.raises(PithError, match=r"results.json is damaged: Expecting ',' delimiter"):
        write_report(tmp_path)


def test_a_network_of_110_layers_stays_below_300_kb(tmp_path: Path) -> None:
    weight, vector = RESULTS["tensors"]
    tensors = [{**weight, "name": f"layer3.{i}.conv2.weight"} for i in range(110)]
    tensors += [{**vector, "name": f"layer3.{i}.bn2.running_mean"} for i in range(440)]
    events = [{**EVENTS[0], "epoch": i + 1, "loss": 1 / (i + 1)} for i in range(200)]
    path = write_report(write_run(tmp_path / "run", {**RESULTS, "tensors": tensors}, events))
    assert path.stat().st_size < 300_000


def test_reports_need_no_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=EVENTS)
    code = """
import sys
from pithnet.report import write_report
write_report(sys.argv[1])
print(sorted({"torch", "plotly", "matplotlib"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", code, str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
