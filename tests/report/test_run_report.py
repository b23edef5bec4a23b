from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pithnet.errors import PithError
from pithnet.report import publish
from pithnet.results.run_record import read_run

from .reader import Reader
from .runs import EVENTS, MEASUREMENTS, PLAN, RESULTS, write_run


def _read(path: Path) -> Reader:
    return Reader(path.read_text("utf-8"))


def test_report_says_what_the_run_measured(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=EVENTS, recipe="name: deep-compression\n")
    path = publish(run)
    assert path == run / "report.html"
    read = _read(path)
    for expected in (
        "1,000 bytes",
        "20.0x",
        "91.75 → 91.42 %",
        "on 10,000 test images, 95 % interval 90.85 to 91.95",
        "-0.33 points",
        "95 % interval -0.71 to +0.05",
        "43.21x",
        "9,000 (2.2x)",
        "500 (50.0 %)",
        "3 epochs in 25 s, 60 images/s.",
        "Vectors (biases, normalisation; 2 in all): 91 bytes",
    ):
        assert expected in read.text, expected
    assert read.all_of("pre") == ["pithnet compress --model resnet20", "name: deep-compression"]
    assert read.tables[-1][-2:] == [["processor", "A <fast> one"], ["cores", "2"]]
    assert read.addresses == [a for a in read.addresses if a.startswith("#")], "nothing is fetched"


def test_the_conclusion_comes_first(tmp_path: Path) -> None:
    text = _read(publish(write_run(tmp_path / "run", events=EVENTS))).text.replace("\xa0", " ")
    lead = "1,000 on disk. Accuracy went from 91.75 to 91.42 %. Less than one point of accuracy is lost"
    assert lead in text
    assert "The best trivial way, int8 + zstd, takes 4,500 bytes, 4.5 times this file." in text
    assert text.index(lead) < text.index("Where the bytes went")


def test_layer_table_adds_up(tmp_path: Path) -> None:
    read = _read(publish(write_run(tmp_path / "run", plan=PLAN)))
    weights = read.tables[1]
    columns = weights[0]
    conv, linear, total = (dict(zip(columns, row, strict=True)) for row in weights[1:])
    shown = ("tensor", "shape", "zeros (%)", "bytes", "share (%)", "planned")
    assert [conv[c] for c in shown] == ["conv1", "4×3×3×3", "75.00", "545", "54.5", "567"]
    assert [linear[c] for c in ("tensor", "bytes", "planned")] == ["linear", "302", "–"]
    spent = ("values", "zeros", "bits", "bytes", "positions", "symbols", "codebook", "other")
    assert [total[c] for c in spent] == ["4,994", "4,081", "1.36", "847", "500", "280", "60", "7"]
    assert "The plan made before any training expected 1,234 bytes; the file has 1,000." in read.text


def test_what_was_not_measured_is_named(tmp_path: Path) -> None:
    bare = {k: RESULTS[k] for k in ("bytes", "float_bytes")}
    read = _read(publish(write_run(tmp_path / "run", bare), tmp_path / "elsewhere.html"))
    assert "20.0x" in read.text
    for absent in ("Training", "Layers", "interval", "formula", "None", "What was done", "Weights before"):
        assert absent not in read.text, absent
    said = read.text[read.text.index("Not in this report: ") :]
    for missing in ("accuracy, for", "the stages from float32", "histograms of weights", "training curves"):
        assert missing in said, missing


def test_a_run_without_measurements_is_told_what_it_lacks(tmp_path: Path) -> None:
    old = [{k: v for k, v in e.items() if k != "sparsity"} for e in EVENTS]
    read = _read(publish(write_run(tmp_path / "old", events=old)))
    assert "Not in this report: histograms of weights and pictures of zeros, for" in read.text
    assert "zeros over the epochs, for the run did not log them." in read.text
    assert "Zeros among the weights" not in read.text
    whole = write_run(tmp_path / "new", events=EVENTS, measurements=MEASUREMENTS)
    assert "Not in this report" not in _read(publish(whole)).text


def test_a_metric_of_ones_own_is_shown_in_its_unit(tmp_path: Path) -> None:
    own = {"metric": "psnr", "share": False}
    before = {"accuracy": 31.25, "n": 50, "loss": None, "interval": [30.5, 32.0], **own}
    results = {**RESULTS, "before": before, "after": {**before, "accuracy": 30.75}, "measured_on": "images"}
    results["difference"] = {"points": -0.5, "low": -0.75, "high": -0.25, **own}
    read = _read(publish(write_run(tmp_path / "run", results)))
    assert "Psnr went from 31.25 to 30.75. The 95\N{NO-BREAK SPACE}% interval" in read.text
    assert "-0.75 to -0.25, does not hold 0." in read.text
    assert "on 50 samples, 95 % interval 30.5 to 32" in read.text
    assert "Accuracy" not in read.text
    assert "points" not in read.text


def test_remarks_of_the_run_are_on_the_page(tmp_path: Path) -> None:
    remark = {"event": "remark", "text": "the training data has no labels"}
    read = _read(publish(write_run(tmp_path / "run", events=[remark, remark, *EVENTS])))
    assert read.text.count("Remark: the training data has no labels.") == 1


def test_a_training_has_a_report_too(tmp_path: Path) -> None:
    results = {
        "kind": "train",
        "model": "resnet20",
        "dataset": "digits",
        "test": RESULTS["after"],
        "epochs": 3,
    }
    results["measured_on"] = "200 held-out training images"
    read = _read(publish(write_run(tmp_path / "run", results, EVENTS)))
    assert read.all_of("h1") == ["resnet20, trained"]
    assert "91.42 %" in read.text
    assert "on 200 held-out training images, 95 %" in read.text
    assert "bytes" not in read.text


def test_a_resumed_run_counts_each_epoch_once_and_survives_a_broken_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=[EVENTS[0], {**EVENTS[0], "loss": 9.0}, *EVENTS[1:]])
    with open(run / "events.jsonl", "a") as log:
        log.write('{"event": "epoch", "num')
    record = read_run(run)
    epochs = [(e.number, e.epoch, e.loss) for e in record.log.epochs]
    assert epochs == [(0, 1, 9.0), (0, 2, 1.25), (1, 1, 1.0)]
    assert record.log.unreadable == 1
    assert "left out because they are broken: 1." in _read(publish(run)).text


def test_a_file_changed_since_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "model.pith").write_bytes(bytes(1000))
    assert "was changed" not in _read(publish(run)).text
    (run / "model.pith").write_bytes(bytes(999))
    assert "has 999 bytes now," in _read(publish(run)).text


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
        publish(write_run(tmp_path / "run", results))
    assert not (tmp_path / "run" / "report.html").exists()


def _grid(**changes: Any) -> Any:
    layer = MEASUREMENTS["layers"][0]
    return {"layers": [{**layer, "grid": {**layer["grid"], **changes}}]}


@pytest.mark.parametrize(
    ("measurements", "message"),
    [
        ({}, r"measurements.json is damaged: layers: Field required; run the compression again"),
        (_grid(rows=10**9), r"measurements.json is damaged: layers\.0\.grid\.rows: "),
        (_grid(rows=5), r"measurements.json is damaged: a picture of zeros has not the size it claims"),
        (_grid(shares="?"), r"measurements.json is damaged: a picture of zeros"),
        ({"layers": [{**MEASUREMENTS["layers"][0], "after": [1]}]}, r"'conv1' has 4 bins before and 1 after"),
    ],
)
def test_damaged_measurements_name_the_fault(tmp_path: Path, measurements: Any, message: str) -> None:
    with pytest.raises(PithError, match=message):
        publish(write_run(tmp_path / "run", measurements=measurements))


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(PithError, match=r"holds no run: it has no results.json; give the --out folder"):
        publish(tmp_path)
    with pytest.raises(PithError, match=r"there is no folder .*none; give the --out folder of a run"):
        publish(tmp_path / "none")
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(PithError, match=r"is not finished: it has no results.json; continue it with"):
        publish(tmp_path)
    (tmp_path / "results.json").write_text('{"bytes": 10')
    with pytest.raises(PithError, match=r"results.json is damaged: Expecting ',' delimiter"):
        publish(tmp_path)


def test_a_network_of_110_layers_stays_below_600_kb(tmp_path: Path) -> None:
    weight, vector = RESULTS["tensors"][:2]
    tensors = [{**weight, "name": f"layer3.{i}.conv2.weight"} for i in range(110)]
    tensors += [{**vector, "name": f"layer3.{i}.bn2.running_mean"} for i in range(440)]
    events = [{**EVENTS[0], "epoch": i + 1, "loss": 1 / (i + 1)} for i in range(200)]
    layer = MEASUREMENTS["layers"][0]
    layers = [
        {**layer, "name": f"layer3.{i}.conv2.weight", "before": [999] * 48, "after": [99] * 48}
        for i in range(110)
    ]
    run = write_run(
        tmp_path / "run", {**RESULTS, "tensors": tensors}, events, measurements={"layers": layers}
    )
    path = publish(run)
    assert path.stat().st_size < 600_000
    folded = _read(path).all_of("summary")
    assert folded[0] == "Bars of all 110 layers"
    assert folded[2:] == ["Histograms of all 110 layers", "Pictures of all 110 layers"]


def test_reports_need_no_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=EVENTS, measurements=MEASUREMENTS, plan=PLAN)
    code = """
import sys
from pithnet.report import publish
publish(sys.argv[1])
print("torch" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
