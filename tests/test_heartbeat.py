"""Work that takes long says so on stderr, with what is done of how much; short work says nothing."""

from __future__ import annotations

import re
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

import pithnet as pn
from pithnet import heartbeat
from pithnet.artifact import encoder
from pithnet.heartbeat import working


def slowly(function, seconds: float = 0.03):  # type: ignore[no-untyped-def]
    def slow(*args, **kwargs):  # type: ignore[no-untyped-def]
        time.sleep(seconds)
        return function(*args, **kwargs)

    return slow


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Linear(8, 8) for _ in range(12)])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS", 0.02)


def test_short_work_is_silent(model: nn.Module, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert heartbeat.SECONDS == 10
    pn.prune(model, 0.5)
    pn.save(pn.finalize(model), tmp_path / "model.pith")
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("impatient")
def test_a_line_comes_while_one_call_is_still_at_work(capsys: pytest.CaptureFixture[str]) -> None:
    with working("outer"), working("count", 2_000, "things") as step:
        step.advance(1_500)
        time.sleep(0.3)
    said = capsys.readouterr().err.splitlines()
    assert len(said) >= 2
    assert all(re.fullmatch(r"pithnet: count: 1,500 of 2,000 things, \d+ s", line) for line in said)


@pytest.mark.usefixtures("impatient")
def test_the_line_is_about_the_innermost_step_and_ends_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    with working("outer"):
        with pytest.raises(ValueError, match="broken"), working("inner"):
            raise ValueError("broken")
        time.sleep(0.2)
    said = capsys.readouterr().err
    assert "outer" in said
    assert "inner" not in said
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("impatient")
def test_compress_and_save_say_what_is_done_of_how_much(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = import_module("pithnet.passes.share")  # the package's own `share` is the pass
    monkeypatch.setattr(shares, "cluster", slowly(shares.cluster))
    monkeypatch.setattr(encoder, "encode_record", slowly(encoder.encode_record))
    recipe = {"steps": [{"prune": {"sparsity": 0.5}}, {"share": {"bits": 2}}]}
    result = pn.compress(model, recipe=recipe, rivals=False)
    said = capsys.readouterr().err
    assert re.search(r"share: \d+ of 12 layers", said)
    assert re.search(r"encode: \d+ of 864 numbers", said)
    pn.save(result.model, tmp_path / "model.pith")
    assert re.search(r"encode: \d+ of 864 numbers", capsys.readouterr().err)


@pytest.mark.usefixtures("impatient")
def test_training_names_step_epoch_and_batch(model: nn.Module, capsys: pytest.CaptureFixture[str]) -> None:
    batches = [(torch.randn(4, 8), torch.zeros(4, dtype=torch.int64)) for _ in range(3)]
    recipe = {"steps": [{"prune": {"sparsity": 0.5}, "train": {"epochs": 2, "lr": 0.01}}]}

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        time.sleep(0.03)
        return outputs.square().mean()

    pn.compress(model, train=batches, recipe=recipe, loss=loss, rivals=False)
    assert re.search(r"prune 0\.5, epoch [12]: [123] of 3 steps", capsys.readouterr().err)
