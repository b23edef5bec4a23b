"""`pithnet export` and `pithnet bench`: files that other runtimes run, checked, evaluated and timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.commands.bench import verdict

from .conftest import Run

DIGITS = ("--model", "digits-cnn", "--data", "digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture
def int8(run: Run, trained: Path, folder: Path) -> Path:
    """The trained network in int8, exported once."""
    path = folder / "int8.onnx"
    if not path.exists():
        options = ("--int8", "--calibrate", "200", "--to", path)
        assert run("export", trained / "model.pt", *DIGITS, *options)[0] == 0
    return path


def test_int8_is_calibrated_checked_and_nearly_as_accurate(
    run: Run, trained: Path, int8: Path, folder: Path
) -> None:
    options = ("--int8", "--calibrate", "200", "--to", folder / "again.onnx", "--json")
    code, out, err = run("export", trained / "model.pt", *DIGITS, *options)
    assert code == 0
    found = json.loads(out)
    assert found["int8"] == {"convolution": 3, "addition": 0, "linear layer": 1}
    assert found["in_float"] == {"convolution": [], "addition": [], "linear layer": []}
    assert found["calibrated_on"] == 200
    assert found["same_class"][0] >= found["same_class"][1] - 1
    assert found["within_a_step"] > 0.99
    assert 3 < found["float32_bytes"] / found["bytes"] < 4
    assert "calibrating on 200 training images" in err
    assert (folder / "again.onnx").read_bytes() == int8.read_bytes()
    accuracies = [
        json.loads(run("evaluate", file, *DIGITS, "--json")[1])["accuracy"]
        for file in (trained / "model.pt", int8)
    ]
    assert abs(accuracies[0] - accuracies[1]) < 0.01


def test_a_network_of_other_classes_is_exported_and_timed(run: Run, folder: Path) -> None:
    three, path = folder / "three.pt", folder / "three.onnx"
    torch.save(zoo.build("digits-cnn", classes=3).state_dict(), three)
    assert run("export", three, *DIGITS, "--to", path)[0] == 0
    code, out, _ = run("bench", three, path, "--model", "digits-cnn", "--seconds", "0.1", "--json")
    assert code == 0
    assert {row["network"] for row in json.loads(out)["rows"]} == {'["digits-cnn", {"classes": 3}]'}


def test_a_pith_in_float_gives_the_same_accuracy(run: Run, compressed: Path, folder: Path) -> None:
    pith, path = compressed / "model.pith", folder / "float.onnx"
    code, out, _ = run("export", pith, "--to", path)
    assert code == 0
    assert "float32" in out.splitlines()[0]
    found = [json.loads(run("evaluate", f, "--data", "digits", "--json")[1]) for f in (pith, path)]
    assert found[0]["accuracy"] == found[1]["accuracy"]
    assert found[1]["architecture"] == "digits-cnn"
    assert found[0]["normalization"] == found[1]["normalization"]


def test_bench_compares_with_eager_and_with_the_same_runtime(run: Run, int8: Path) -> None:
    code, out, err = run("bench", int8, "--batch", "1", "--batch", "3", "--threads", "1", "--seconds", "0.1")
    assert code == 0, err
    assert "Batches of 1, 1 thread" in out
    assert "Batches of 3, 1 thread" in out
    assert "1 of 2: batches of 1, 1 thread, 3 contenders" in err
    code, out, _ = run("bench", int8, "--batch", "1", "--threads", "1", "--seconds", "0.1", "--json")
    rows = {(row["runtime"], row["precision"]): row for row in json.loads(out)["rows"]}
    assert rows.keys() == {
        ("ONNX Runtime", "int8"),
        ("ONNX Runtime", "float32"),
        ("PyTorch eager", "float32"),
    }
    mine, eager = rows["ONNX Runtime", "int8"], rows["PyTorch eager", "float32"]
    assert mine["bytes"] == int8.stat().st_size
    assert mine["share_of_eager"] == pytest.approx(mine["ms"] / eager["ms"])
    float_ms = rows["ONNX Runtime", "float32"]["ms"]
    assert mine["share_of_float32"] == pytest.approx(mine["ms"] / float_ms)
    assert eager["share_of_eager"] == 1
    assert eager["rounds"] >= 7


def test_a_checkpoint_and_a_pith_are_timed_in_both(
    run: Run, trained: Path, compressed: Path, int8: Path
) -> None:
    files = (trained / "model.pt", compressed / "model.pith", int8)
    options = ("--model", "digits-cnn", "--batch", "1", "--threads", "1", "--seconds", "0.1", "--json")
    code, out, err = run("bench", *files, *options)
    assert code == 0, err
    rows = [(row["file"], row["runtime"]) for row in json.loads(out)["rows"]]
    assert ("model.pt", "PyTorch eager") in rows
    assert ("model.pith", "PyTorch eager") in rows
    assert len({row["network"] for row in json.loads(out)["rows"]}) == 1


def test_it_says_where_int8_did_not_help() -> None:
    row = {"file": "a.onnx", "runtime": "ONNX Runtime", "precision": "int8", "batch": 64, "threads": 2}
    slow = verdict({**row, "share_of_float32": 0.98})
    assert slow == (
        "int8 did not help: a.onnx takes 98 % of ONNX Runtime's float32 time (batches of 64, 2 threads)"
    )
    assert verdict({**row, "share_of_float32": 0.3}) is None
    assert verdict({**row, "share_of_float32": None}) is None
    assert verdict({**row, "precision": "float32", "share_of_float32": 1.0}) is None


def test_a_codebook_is_kept_in_float_and_named(run: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = zoo.build("digits-cnn")
    conv3: nn.Conv2d = model.conv3
    conv3.weight.data = torch.randn(16)[torch.randint(16, conv3.weight.shape)] / 10
    torch.save(model.state_dict(), tmp_path / "codebook.pt")
    options = ("--int8", "--calibrate", "64", "--to", tmp_path / "x.onnx")
    code, out, err = run("export", tmp_path / "codebook.pt", *DIGITS, *options)
    assert code == 0, err
    assert "convolutions in int8: 2 of 3; in float: conv3" in out
    assert "kept in float, as int8 cannot hold these weights exactly: conv3" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "gone.pt", "--model", "digits-cnn", "--to", "x.onnx"], "gone.pt cannot be read"),
        (["export", "gone.pith", "--to", "x.onnx"], "gone.pith: cannot be read"),
        (["export", "WEIGHTS", "--to", "x.onnx"], "add --model NAME"),
        (["export", "WEIGHTS", "--model", "digit-cnn", "--to", "x.onnx"], "Did you mean digits-cnn?"),
        (["export", "WEIGHTS", "--model", "resnet20", "--to", "x.onnx"], "does not fit this architecture"),
        (["export", "WEIGHTS", *DIGITS, "--to", "no/x.onnx"], "no is not a folder"),
        (["export", "WEIGHTS", *DIGITS, "--int8", "--dynamic", "--to", "x.onnx"], "give one of the two"),
        (["export", "WEIGHTS", *DIGITS, "--int8", "--calibrate", "0", "--to", "x.onnx"], "--calibrate 0"),
        (["export", "WEIGHTS", *DIGITS, "--int8", "--calibrate", "1297", "--to", "x.onnx"], "1297 images"),
        (
            ["export", "WEIGHTS", "--model", "digits-cnn", "--int8", "--to", "x.onnx"],
            "calibrated on training images. data set 'cifar10' needs --data-root",
        ),
        (["bench"], "nothing to time"),
        (["bench", "gone.onnx"], "gone.onnx cannot be read"),
        (["bench", "WEIGHTS"], "add --model NAME"),
        (["bench", "WEIGHTS", "--model", "digits-cnn", "--batch", "0"], "--batch 0"),
        (["bench", "WEIGHTS", "--model", "digits-cnn", "--threads", "-1"], "--threads"),
        (["bench", "WEIGHTS", "--model", "digits-cnn", "--seconds", "0"], "--seconds 0"),
        (["evaluate", "gone.onnx", "--data", "digits"], "gone.onnx: no such file"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value[:1] + value[-2:]),
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    run: Run,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(trained / "model.pt") if a == "WEIGHTS" else a for a in arguments]
    code, out, err = run(*given)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 2
    assert not list(tmp_path.iterdir())


def test_images_of_another_size_are_refused(run: Run, int8: Path, tmp_path: Path) -> None:
    code, _, err = run("evaluate", int8, "--data", "npz", "--data-root", tmp_path / "gone.npz")
    assert code == 2
    assert "gone.npz" in err
