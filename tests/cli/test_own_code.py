"""A network and loaders of the user's own, named on the command line as module:function."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hostile.reseal import reseal
from safetensors.torch import save_file

import pithnet as pn
from pithnet.commands.compress import compress, resume
from pithnet.commands.settings import CompressSettings, DataSettings, split_teacher
from pithnet.commands.settings_file import absolute
from pithnet.report import publish

from .conftest import Run
from .test_bad_input import fails

MODULE = """\
import torch
from torch import nn

import pithnet as pn


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm, self.head = nn.BatchNorm2d(width), nn.Linear(width, 3)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


SEED = 0


def net():
    torch.manual_seed(SEED)
    return Net()


def narrow():
    return Net(4)


def batches(count, shift=0.0):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(count, 16, 1, 6, 6, generator=g), torch.randint(0, 3, (count, 16), generator=g)
    return list(zip(x + shift, y))


def loaders():
    return batches(4), batches(2)


def images():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (32, 1, 6, 6), generator=g), torch.randint(0, 3, (32,), generator=g)
    data = pn.data.ArrayData(x.to(torch.uint8), y, ("a", "b", "c"))
    return tuple(pn.data.Batches(data, 16, pn.data.Normalization((0.5,), (0.3,))) for _ in "tv")


def distance(outputs, targets):
    return (outputs - nn.functional.one_hot(targets, 3)).square().sum(1)


def regression():
    loss = lambda outputs, targets: distance(outputs, targets).mean()
    return {"train": batches(4), "val": batches(2), "loss": loss, "metric": distance}


def unmeasured():
    return {"train": batches(4)}


def unlearnable():
    return None, batches(2)


def misspelt():
    return {"train": batches(4), "vall": batches(2)}


def endless():
    return iter(batches(4)), None


def three():
    return 1, 2, 3


def nothing():
    return None, None


def untuned():
    return {"train": batches(4), "loss": 0.5}


def needy(width, depth=3):
    return Net(width)


def broken():
    raise ValueError("no such luck\\nand more")


def state():
    return net().state_dict()
"""
RECIPE = """\
name: tiny
steps:
  - prune: {sparsity: 0.5}
    train: {epochs: 1, lr: 0.01}
  - share: {bits: 2}
distill: {weight: 0}
"""
MACS = {"conv": 8 * 9 * 6 * 6, "head": 8 * 3}


def own(folder: Path) -> ModuleType:
    """The user's module, as another program imports it."""
    spec = importlib.util.spec_from_file_location("another", folder / "mine.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _forget() -> None:
    for name in ("mine", "halting", "faulty"):
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a module of the user's own, mine.py."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    _forget()
    yield tmp_path
    _forget()


def found(run: Run, *arguments: str | Path) -> Any:
    """What a command prints as JSON."""
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


NET = ("--model", "mine:net")
OWN = (*NET, "--data", "mine:loaders")
TINY = ("--recipe", "tiny.yaml")


def test_compress_evaluate_and_export(run: Run, folder: Path) -> None:
    done = found(run, "compress", *OWN, *TINY, "--out", "run")
    assert (done["after"]["n"], done["dataset"], done["measured_on"]) == (
        32,
        "mine:loaders",
        "samples of mine:loaders",
    )
    measured = found(run, "evaluate", "run/model.pith", "--model", "mine:Net", "--data", "mine:loaders")
    assert measured["bytes"] == done["bytes"] == (folder / "run/model.pith").stat().st_size
    for name in ("accuracy", "loss", "interval"):
        assert measured[name] == done["after"][name]
    assert b"mine" not in (folder / "run/model.pith").read_bytes()
    exported = found(run, "export", "run/model.pith", *OWN, "--to", "float.onnx")
    assert exported["same_class"] == [16, 16]
    again = found(run, "evaluate", "float.onnx", "--data", "mine:loaders")
    assert again["accuracy"] == measured["accuracy"]
    code, out, _ = run("evaluate", "run/model.pith", *OWN)
    assert code == 0
    assert "on 32 samples of mine:loaders" in out


def test_int8_is_calibrated_on_the_users_own_loader(run: Run, folder: Path) -> None:
    torch.save(own(folder).net().state_dict(), "plain.pt")
    done = found(run, "export", "plain.pt", *OWN, "--int8", "--to", "int8.onnx")
    assert done["calibrated_on"] == 51  # four fifths of 64, the rest checks
    assert done["int8"] == {"convolution": 1, "linear layer": 1, "addition": 0}
    assert done["against_float"]["relative_error"] < 0.1
    rows = found(
        run,
        *("bench", "int8.onnx", "plain.pt", *NET, "--example", "1x1x6x6"),
        *("--seconds", "0.01", "--batch", "1", "--threads", "1"),
    )["rows"]
    assert {row["network"] for row in rows} == {'["mine:net", {}]'}
    assert all(row["share_of_eager"] > 0 for row in rows)


def test_a_run_goes_on_with_the_same_code_and_data_alone(run: Run, folder: Path) -> None:
    settings = CompressSettings(model="mine:net", recipe="tiny.yaml")
    done = compress(DataSettings(data="mine:loaders"), settings, folder / "run").result.data
    assert resume(folder / "run").result.data == done
    for old, new, message in (
        ("SEED = 0", "SEED = 1", "the network that mine:net returns is not as when this run began"),
        ("shift=0.0", "shift=0.5", "the train batches of mine:loaders are not as when this run began"),
    ):
        (folder / "mine.py").write_text(MODULE.replace(old, new) + f"# {new}\n")
        _forget()
        assert message in fails(run, "compress", "--resume", "run")


def test_loss_and_metric_of_ones_own(run: Run, folder: Path) -> None:
    trained = found(run, "train", *NET, "--data", "mine:regression", "--epochs", "2", "--out", "float")
    mine = own(folder)
    model = mine.net()
    untrained = pn.evaluate(model, mine.batches(2), metric=mine.distance)
    model.load_state_dict(torch.load("float/model.pt", weights_only=True))
    expected = pn.evaluate(model, mine.batches(2), metric=mine.distance)
    assert trained["test"]["accuracy"] == pytest.approx(expected.mean, rel=1e-5)
    assert expected.mean < untrained.mean
    assert (trained["test"]["metric"], trained["test"]["share"]) == ("distance", False)
    weights = ("--weights", "float/model.pt")
    code, out, _ = run("compress", *NET, *weights, "--data", "mine:regression", *TINY, "--out", "small")
    assert code == 0
    assert "distance" in out
    assert "%" not in out[out.index("model.pith") :].splitlines()[0]
    results = json.loads((folder / "small/results.json").read_text())
    assert results["before"]["accuracy"] == pytest.approx(expected.mean, rel=1e-5)
    code, out, _ = run("evaluate", "small/model.pith", *NET, "--data", "mine:regression")
    assert out.startswith(f"distance {results['after']['accuracy']:.4g} (95 % interval ")


def test_without_a_val_loader_nothing_is_measured(run: Run, folder: Path) -> None:
    trained = found(run, "train", *NET, "--data", "mine:unmeasured", "--epochs", "1", "--out", "float")
    assert trained["test"] is None
    settings = CompressSettings(model="mine:net", weights="float/model.pt", recipe="tiny.yaml")
    done = compress(DataSettings(data="mine:unmeasured"), settings, folder / "run").results
    assert done["before"] is done["after"] is None
    assert "</html>" in publish(folder / "float").read_text()
    line = fails(run, "evaluate", "run/model.pith", *NET, "--data", "mine:unmeasured")
    assert "--data mine:unmeasured returned no val loader, and there is nothing to measure on" in line


def test_a_teacher_of_ones_own(run: Run, folder: Path) -> None:
    found(run, "train", *OWN, "--epochs", "1", "--out", "big")
    for data in ("loaders", "images"):
        options = ("train", *NET, "--data", f"mine:{data}", "--epochs", "1")
        alone = found(run, *options, "--out", f"{data}-alone")
        taught = found(run, *options, "--teacher", "mine:Net:big/model.pt", "--out", f"{data}-taught")
        assert taught["test"]["loss"] != alone["test"]["loss"]
    assert split_teacher("mine:Net:big/model.pt") == ("mine:Net", "big/model.pt")
    assert split_teacher("resnet44:a/b.pt") == ("resnet44", "a/b.pt")
    assert split_teacher("resnet44:C:/b.pt") == ("resnet44", "C:/b.pt")
    settings = absolute(CompressSettings(teacher="mine:Net:big/model.pt"))
    assert settings.teacher == f"mine:Net:{folder / 'big' / 'model.pt'}"


def test_a_plan_needs_no_data(run: Run, folder: Path) -> None:
    for options in (("--example", "1x1x6x6"), ("--data", "mine:loaders")):
        plan = found(run, "plan", *NET, *TINY, *options)
        assert {row["name"]: row["macs"] for row in plan["layers"]} == MACS
        assert plan["macs"] == sum(MACS.values())
    expected = pn.plan(own(folder).net(), "tiny.yaml", example=torch.zeros(1, 1, 6, 6))
    assert plan == json.loads(json.dumps(expected.to_json()))
    assert [step["epochs"] for step in plan["steps"]] == [1, 0]
    assert found(run, "plan", *NET, *TINY)["macs"] is None
    code, out, _ = run("plan", *NET, *TINY, "--example", "2x1x6x6")
    assert code == 0
    assert f"{2 * MACS['conv']:,}" in out
    assert "1. prune 0.5, and train for 1 epoch\n2. share 4 levels\nabout " in out
    code, out, _ = run("plan", *NET, *TINY)
    assert "for multiply-accumulates give --example" in out
    line = fails(run, "plan", *NET, *TINY, "--example", "1x3x6x6")
    assert "Net does not run on the example" in line
    assert "give inputs as it takes them" in line


def test_a_plan_of_the_zoo_knows_its_images(run: Run, folder: Path) -> None:
    plan = found(run, "plan", "--model", "digits-cnn", *TINY)
    example = torch.zeros(1, 1, 8, 8)
    expected = pn.plan(pn.zoo.build("digits-cnn"), "tiny.yaml", example=example)
    assert plan["macs"] == expected.macs == pn.costs(pn.zoo.build("digits-cnn"), example).macs
    assert [tuple(row["shape"]) for row in plan["layers"]] == [row.shape for row in expected.layers]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:nett", "the module mine has no 'nett'. Did you mean net"),
        ("gone:net", "the module gone cannot be imported: ModuleNotFoundError: No module named 'gone'"),
        ("faulty:net", "cannot be imported: ZeroDivisionError: division by zero (faulty.py, line 2)"),
        ("halting:net", "the module halting cannot be imported: SystemExit: 3"),
        ("mine:SEED", "SEED is a int, which cannot be called"),
        ("mine:state", "--model mine:state returned a OrderedDict, and no torch.nn.Module"),
        ("mine:needy", "needy needs arguments (width); name a function without any"),
        ("mine:broken", "broken() raised ValueError: no such luck (mine.py, line "),
        ("./mine.py:net", "is not of the form package.module:function"),
        ("mine:", "is not of the form package.module:function"),
        ("renet20", "unknown architecture 'renet20'. Did you mean resnet20"),
    ],
)
def test_a_network_that_cannot_be_had_is_refused_by_name(
    name: str, message: str, run: Run, folder: Path
) -> None:
    (folder / "faulty.py").write_text("\n1 / 0\n")
    (folder / "halting.py").write_text("import sys\nsys.exit(3)\n")
    for command in (
        ("plan", "--model", name),
        ("compress", "--model", name, "--data", "mine:loaders", *TINY, "--out", "OUT"),
    ):
        line = fails(run, *command)
        assert message in line
        assert len(line.splitlines()) == 1
    assert not (folder / "OUT").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--data", "mine:loders"),
            "--data mine:loders: the module mine has no 'loders'. Did you mean loaders",
        ),
        (
            ("--data", "mine:misspelt"),
            "unknown key of what --data mine:misspelt returned, 'vall'. Did you mean val",
        ),
        (("--data", "mine:endless"), "train of --data mine:endless must have a length and start anew"),
        (
            ("--data", "mine:three"),
            "--data mine:three returned a tuple of 3 parts; return a pair (train, val)",
        ),
        (("--data", "mine:net"), "--data mine:net returned a Net; return a pair"),
        (("--data", "mine:nothing"), "returned neither a train loader nor a val loader"),
        (("--data", "mine:untuned"), "the loss of --data mine:untuned is no function of (outputs, targets)"),
        (("--data", "mine:unlearnable"), "needs training data"),
        (("--data", "mine:loaders", "--val", "9"), "--val is for the data sets that pithnet reads"),
        (("--data", "mine:loaders", "--normalize", "digits"), "--normalize is for the data sets"),
        (("--data", "mine:loaders", "--data-root", "."), "--data-root is for the data sets"),
        (("--data", "digits", "--model", "mine:narrow"), "mine:narrow has 3 outputs, digits has 10 classes"),
        (("--data", "mine:loaders", "--weights", "gone.pt"), "gone.pt: no such checkpoint"),
        (("--data", "mine:loaders", "--weights", "other.pt"), "does not fit this architecture: conv.weight"),
        (("--data", "mine:loaders", "--teacher", "mine:Net"), "unknown architecture 'mine'"),
        (("--data", "mine:loaders", "--model", "digits-cnn"), "there is nothing to compress: give --weights"),
    ],
)
def test_data_that_cannot_be_used_is_refused(
    options: tuple[str, ...], message: str, run: Run, folder: Path
) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, folder / "other.pt")
    model = () if "--model" in options else NET
    assert message in fails(run, "compress", *model, *options, *TINY, "--out", "OUT")
    assert not (folder / "OUT").exists()


def test_what_a_command_needs_beside_the_network_is_said(run: Run, folder: Path) -> None:
    torch.save(pn.zoo.build("digits-cnn").state_dict(), "digits.pt")
    net = own(folder).net()
    torch.save(net.state_dict(), "net.pt")
    pn.save(net, "net.pith")
    to = ("--to", "x.onnx")
    for arguments, message in (
        (("evaluate", "net.pith", "--data", "mine:loaders"), "names no network of the zoo: add --model"),
        (("evaluate", "net.pt", "--data", "mine:loaders"), "or --model package.module:function"),
        (("evaluate", "digits.pt", *OWN), "digits.pt does not fit this architecture"),
        (("export", "net.pith", *NET, *to), "mine:net does not say what its inputs are: give --example"),
        (("export", "net.pith", *NET, *to, "--example", "6"), "--example 6: give the lengths of one input"),
        (("export", "net.pt", *OWN, *to, "--int8", "--calibrate", "9"), "of --data mine:loaders 512 images"),
        (("train", *NET, "--data", "mine:unlearnable", "--out", "OUT"), "returned no train loader"),
        (("train", *OWN, "--batch-size", "8", "--out", "OUT"), "--batch-size 8: --data mine:loaders makes"),
        (
            ("train", *NET, "--data", "mine:regression", "--label-smoothing", "0.1", "--out", "OUT"),
            "--label-smoothing is for the cross-entropy",
        ),
    ):
        assert message in fails(run, *arguments), arguments
    code, _, err = run("bench", "net.pt", *NET)
    assert code == 2
    assert "mine:net does not say what its inputs are: give --example" in err
    assert not (folder / "OUT").exists()
    assert not (folder / "x.onnx").exists()


def test_a_file_never_says_what_to_import(run: Run, folder: Path) -> None:
    data = pn.encode(pn.zoo.build("digits-cnn"), pn.Metadata(architecture="digits-cnn"))
    hostile = reseal(data.replace(b"digits-cnn", b"mine:needy"))
    assert len(hostile) == len(data)
    assert hostile != data
    (folder / "net.pith").write_bytes(hostile)
    for command in (("evaluate",), ("inspect",), ("export", "--to", "x.onnx")):
        line = fails(run, command[0], "net.pith", *command[1:])
        assert "unknown architecture 'mine:needy'" in line
    assert "mine" not in sys.modules


def test_weights_of_safetensors_are_those_of_torch(run: Run, folder: Path) -> None:
    state = own(folder).narrow().state_dict()
    torch.save(state, "net.pt")
    save_file(state, "net.safetensors")
    options = ("--model", "mine:narrow", "--data", "mine:loaders")
    theirs, ours = (found(run, "evaluate", f"net.{end}", *options) for end in ("pt", "safetensors"))
    assert ours["loss"] == theirs["loss"]
    plans = [found(run, "plan", *options, *TINY, "--weights", f"net.{end}") for end in ("pt", "safetensors")]
    assert plans[0] == plans[1]
