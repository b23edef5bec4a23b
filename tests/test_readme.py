"""The README does what it says: its Python runs, its commands parse, its recipe is valid."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import pithnet as pn
from pithnet.cli.app import app, main
from pithnet.deploy import OnnxNetwork

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


OWN = next(block for block in blocks("python") if "class MyNet" in block)
FEWER = next(block for block in blocks("python") if "plan_shrink" in block)


def test_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(pn.zoo.build("resnet20").state_dict(), "resnet20.pt")
    few = pn.data.ArrayData(torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8), torch.arange(8))
    monkeypatch.setattr(pn.data, "load", lambda name, root, split: few)
    names: dict[str, object] = {}
    for block in blocks("python"):
        if block not in (OWN, FEWER):
            exec(compile(block, "README.md", "exec"), names)
    model, record = names["model"], names["record"]
    assert isinstance(model, torch.nn.Module)
    assert isinstance(record, pn.passes.Record)
    assert record.sparsity == pytest.approx(0.8, abs=1e-4)
    assert all(layer.levels is not None and layer.levels <= 16 for layer in record.layers)
    assert (tmp_path / "resnet20.pith").stat().st_size < 60_000
    assert pn.load("model.pith").architecture == ("resnet20", {})
    assert "deep-compression" in (tmp_path / "report.html").read_text()


def test_a_module_of_ones_own_gets_as_small_as_the_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(OWN, "README.md", "exec"), names)
    result, int8, model = names["result"], names["int8"], names["model"].eval()
    assert "more than 20x smaller, less than two points lost" in OWN
    assert result.ratio > 20
    assert result.after.accuracy > result.before.accuracy - 0.02
    exec(compile(FEWER, "README.md", "exec"), names)
    plan, images = names["plan"], torch.randn(2, 1, 8, 8)
    assert plan.macs <= plan.full_macs / 2
    final = pn.finalize(names["narrow"]).eval()
    assert torch.equal(names["again"](images), final(images))
    x, *_ = next(iter(names["test"]))  # ranges hold for such images, not for noise
    assert torch.equal(names["small"](x), result.model(x))
    assert "about a third of the float weights" in README
    assert 2.8 < int8.float32_bytes / int8.bytes < 3.2
    assert int8.agreement.same >= int8.agreement.n - 2
    assert int8.float_operators.keys() <= {"ReduceMean"}
    found = OnnxNetwork("mynet.onnx")(x)
    exact = model(x).detach()
    assert float((found - exact).norm() / exact.norm()) < 0.05


def commands() -> list[str]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("pithnet")]


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    tokens = shlex.split(line)[1:]
    command, bound, *_ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    assert command.__name__ == tokens[0]
    assert bound.arguments


ON_DIGITS = {
    "--model resnet20": "--model digits-cnn",
    "--data cifar10 --data-root DATA": "--data digits",
    "--recipe deep-compression": "--recipe demo",
    "--epochs 30": "--epochs 1",
    "bench int8.onnx": "bench --seconds 0.1 --threads 1 --batch 1 int8.onnx",
}


def test_commands_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in commands():
        if "mynet:" in line:
            continue
        for cifar10, digits in ON_DIGITS.items():
            line = " ".join(line.split()).replace(cifar10, digits)
        tokens = shlex.split(line)[1:]
        if tokens[0] != "lab":
            assert main(tokens) == 0, (line, capsys.readouterr().err)
    for made in ("runs/float/model.pt", "runs/small/model.pith", "runs/small/report.html", "int8.onnx"):
        assert (tmp_path / made).stat().st_size > 0


LOADERS = """

def loaders():
    digits = pn.data.NORMALIZATIONS["digits"]
    few = pn.data.load("digits", None, "train").split(96, 0)[1]
    return pn.data.Batches(few, 32, digits), pn.data.Batches(few, 96, digits)
"""


def test_commands_take_a_module_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = OWN[: OWN.index("\n\n\ndigits =")] + LOADERS
    (tmp_path / "mynet.py").write_text(source)
    names: dict[str, Any] = {}
    exec(compile(source, "mynet.py", "exec"), names)
    torch.save(names["MyNet"]().state_dict(), "mynet.pt")
    lines = [line for line in commands() if "mynet:" in line]
    assert len(lines) == 4
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
    del sys.modules["mynet"]
    floats = 4 * sum(p.numel() for p in names["MyNet"]().parameters())
    assert (tmp_path / "runs/mynet/model.pith").stat().st_size < floats / 10
    assert (tmp_path / "mynet.onnx").stat().st_size < floats / 2


def test_commands_are_found() -> None:
    assert {shlex.split(line)[1] for line in commands()} >= {
        "train",
        "compress",
        "evaluate",
        "inspect",
        "lab",
    }


def test_recipe_block_is_valid() -> None:
    (block,) = blocks("yaml")
    recipe = pn.recipe.parse(yaml.safe_load(block), "README.md")
    assert recipe.epochs == 12


def test_results_table_is_what_the_records_say() -> None:
    done = subprocess.run([sys.executable, ROOT / "records" / "tables.py", "--check"], check=False)
    assert done.returncode == 0, "run python records/tables.py"
