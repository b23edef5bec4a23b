"""Checkpoints of safetensors give what those of torch.save give, and damaged ones are refused in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.errors import ModelError


def save_file(state: dict[str, torch.Tensor], path: Path, **more: Any) -> None:
    from safetensors.torch import save_file as save  # the other tests of the zoo need none of it

    save(state, path, **more)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return zoo.build("digits-cnn", width=4).state_dict()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_both_formats_give_the_same_network(
    prefix: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    named = {prefix + key: value for key, value in state.items()}
    save_file(named, tmp_path / "a.safetensors", metadata={"format": "pt"})
    torch.save(named, tmp_path / "a.pt")
    ours, theirs = (zoo.load("digits-cnn", tmp_path / f"a.{end}", width=4) for end in ("pt", "safetensors"))
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])
    assert zoo.has_module_prefix(tmp_path / "a.safetensors") == bool(prefix)


def test_bfloat16_is_widened(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    short = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}
    save_file(short, tmp_path / "a.safetensors")
    read = zoo.read_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(read["conv1.weight"], short["conv1.weight"].float())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight


def test_a_tied_tensor_may_be_there_once() -> None:
    model, other = Tied(), Tied()
    state = {k: v for k, v in other.state_dict().items() if k != "second.weight"}
    zoo.load_state(model, state, "a file")
    assert torch.equal(model.second.weight, other.first.weight)
    del state["first.bias"]
    with pytest.raises(ModelError, match=r"first\.bias \(3,\) is missing"):
        zoo.load_state(model, state, "a file")


def test_what_is_damaged_or_missing_is_refused_in_a_line(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    save_file(state, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    torch.save(state, tmp_path / "torch.safetensors")
    contents = {"cut": whole[: len(whole) // 2], "header": whole[:20], "empty": b"", "text": b"hello world"}
    for name, content in contents.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    for name in (*contents, "torch"):
        with pytest.raises(ModelError, match=rf"{name}\.safetensors is not a file of safetensors") as caught:
            zoo.read_checkpoint(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"gone\.safetensors: no such checkpoint"):
        zoo.read_checkpoint(tmp_path / "gone.safetensors")
    state["conv1.weight"][0] = torch.nan
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(ModelError, match=r"conv1\.weight holds NaN or inf"):
        zoo.read_checkpoint(tmp_path / "nan.safetensors")
