"""Checkpoints of anyone's: read as data, refused with a reason, never executed."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.errors import ModelError


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return zoo.build("digits-cnn", width=4).state_dict()


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def loaded(path: Path) -> nn.Module:
    return zoo.load("digits-cnn", path, width=4)


def test_a_network_has_the_classes_of_its_checkpoint(tmp_path: Path) -> None:
    three = saved(tmp_path / "three.pt", zoo.build("digits-cnn", width=4, classes=3).state_dict())
    model = zoo.load("digits-cnn", three, width=4)
    assert zoo.outputs(model) == 3
    assert model.architecture == ("digits-cnn", {"width": 4, "classes": 3})
    with pytest.raises(ModelError, match=r"linear\.weight is \(3, 8\), the architecture has \(10, 8\)"):
        zoo.load("digits-cnn", three, width=4, classes=10)


def test_a_pith_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "m.pith").write_bytes(b"PITH and so on")
    with pytest.raises(ModelError, match=r"m\.pith is a \.pith file; pithnet unpack .*m\.pith --to"):
        zoo.load("digits-cnn", tmp_path / "m.pith")


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_usual_layout_of_a_checkpoint_is_read(
    tmp_path: Path, state: dict[str, torch.Tensor], nested: str | None, prefix: str
) -> None:
    inner: Any = {prefix + k: v for k, v in state.items()}
    path = saved(tmp_path / "a.pt", {nested: inner, "epoch": 3, "best_prec1": 91.2} if nested else inner)
    model = loaded(path)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not model.training
    assert zoo.has_module_prefix(path) == bool(prefix)


def test_half_precision_is_widened(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    read = zoo.read_checkpoint(saved(tmp_path / "half.pt", half))
    assert read["conv1.weight"].dtype == torch.float32
    assert torch.equal(read["conv1.weight"], half["conv1.weight"].float())
    assert torch.equal(loaded(tmp_path / "half.pt").conv1.weight, half["conv1.weight"].float())


def test_counters_of_batches_may_be_missing(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    old = {k: v for k, v in state.items() if "num_batches_tracked" not in k}
    assert torch.equal(loaded(saved(tmp_path / "old.pt", old)).bn1.weight, state["bn1.weight"])


class Payload:
    """What a hostile pickle holds: reading it would make a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize(
    "kind", ["pickle 0", "pickle 2", "pickle 4", "pickle 5", "torch", "legacy torch", "beside"]
)
def test_a_pickle_is_never_executed(tmp_path: Path, state: dict[str, torch.Tensor], kind: str) -> None:
    target, path = tmp_path / "executed", tmp_path / "evil.pt"
    payload = Payload(target)
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(payload, int(kind[-1])))
    elif kind == "beside":
        saved(path, {"state_dict": state, "note": payload})
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(ModelError, match=r"evil\.pt (holds more than tensors|is not a checkpoint)") as caught:
        loaded(path)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    # The file is what it is meant to be: a reader that trusts it runs it.
    if kind.startswith("pickle"):
        pickle.loads(path.read_bytes())
        assert target.exists()


def test_an_object_among_tensors_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = saved(tmp_path / "whole.pt", nn.Linear(2, 2))
    with pytest.raises(ModelError, match=r"holds more than tensors .* save model\.state_dict\(\)"):
        zoo.read_checkpoint(path)


def test_files_that_are_no_checkpoint_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.pt: no such checkpoint"):
        loaded(tmp_path / "none.pt")
    with pytest.raises(ModelError, match="is a folder"):
        loaded(tmp_path)
    contents = {
        "empty": b"",
        "text": b"hello world",
        "noise": bytes(range(256)) * 8,
        "zip": b"PK\x03\x04" + b"\0" * 99,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=f"{name} (is not what|holds more)") as caught:
            loaded(tmp_path / name)
        assert "\n" not in str(caught.value)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ModelError, match=r"other\.zip is not what torch\.save writes"):
        loaded(tmp_path / "other.zip")


def test_a_truncated_checkpoint_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    whole = saved(tmp_path / "whole.pt", state).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"cut\.pt is not what torch\.save writes"):
        loaded(tmp_path / "cut.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, not a state_dict"),
        ({"epoch": 3}, "holds no tensors"),
        ({"state_dict": {}}, "holds no tensors"),
        (torch.zeros(3), "holds a Tensor, not a state_dict"),
    ],
)
def test_content_that_is_no_state_dict_is_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        loaded(saved(tmp_path / "odd.pt", content))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_bad_numbers_are_refused_by_key(tmp_path: Path, state: dict[str, torch.Tensor], bad: float) -> None:
    state["conv3.weight"][0, 0, 0, 0] = bad
    with pytest.raises(ModelError, match=r"bad\.pt: conv3\.weight holds NaN or inf"):
        loaded(saved(tmp_path / "bad.pt", state))


def test_the_first_difference_is_named_with_both_shapes(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = saved(tmp_path / "w4.pt", state)
    with pytest.raises(ModelError, match=r"w4\.pt .* conv1\.weight is \(4, 1, 3, 3\), .* has \(8, 1, 3, 3\)"):
        zoo.load("digits-cnn", path, width=8)
    with pytest.raises(ModelError, match=r"layer1\.0\.conv1\.weight \(16, 16, 3, 3\) is missing"):
        zoo.load("resnet20", saved(tmp_path / "stem.pt", stem("resnet20")))
    del state["linear.bias"]
    with pytest.raises(ModelError, match=r"linear\.bias \(10,\) is missing"):
        loaded(saved(tmp_path / "less.pt", state))
    state["linear.bias"], state["extra"] = torch.zeros(10), torch.zeros(2, 3)
    with pytest.raises(ModelError, match=r"it has extra \(2, 3\), the architecture does not"):
        loaded(saved(tmp_path / "more.pt", state))


def stem(name: str) -> dict[str, torch.Tensor]:
    state = zoo.build(name).state_dict()
    return {k: v for k, v in state.items() if k.startswith(("conv1", "bn1"))}


def test_depths_and_shortcuts_are_told_apart(tmp_path: Path) -> None:
    path = saved(tmp_path / "r32.pt", zoo.build("resnet32").state_dict())
    with pytest.raises(ModelError, match=r"it has layer1\.3\.conv1\.weight"):
        zoo.load("resnet20", path)
    with pytest.raises(ModelError, match=r"layer1\.5\.conv1\.weight .* is missing"):
        zoo.load("resnet44", path)
    with pytest.raises(ModelError, match=r"layer2\.0\.shortcut\.0\.weight .* is missing"):
        zoo.load("resnet32b", path)


def test_reading_imports_nothing_for_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "global.pt"
    path.write_bytes(b"\x80\x02cantigravity\nfly\n.")
    with pytest.raises(ModelError):
        zoo.read_checkpoint(path)
    assert "antigravity" not in sys.modules
