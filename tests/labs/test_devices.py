"""`--device` of the labs: what is refused, and that a bench hands out networks and images of its device."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerator import PretendedGpu

from pithnet.commands.settings import DataSettings
from pithnet.errors import PithError
from pithnet.labs import LABS, LabOptions
from pithnet.labs.deep_compression.sharing import Reference
from pithnet.labs.notebook import Notebook
from pithnet.labs.ptq import experiment as ptq
from pithnet.labs.training import train
from pithnet.labs.workbench import Workbench
from pithnet.learn import Training
from pithnet.run.progress import Quiet

DIGITS = DataSettings(data="digits", val=1000)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGpu]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with PretendedGpu() as pretended:
        yield pretended


def bench(device: str) -> Workbench:
    return Workbench.open(DIGITS, None, batch_size=128, seed=0, teacher="self", device=device)


def trained(out: Path, device: str) -> tuple[float, float]:
    """Loss and test accuracy of an epoch of a lab's training, taught by the network it began with."""
    start = bench(device)
    book = Notebook(out, start.facts(), progress=Quiet())
    taught = start.taught(start.model(), 1, out / "cache", lambda done, total: None)
    found = train(book, taught, "one", taught.model(), taught.teach(Training(epochs=1, lr=0.1)))
    assert Reference(found.model, taught.choice_batches()).compare(found.model)["agreement"] == 1
    return found.history[0]["loss"], found.evaluation.accuracy


def test_a_training_is_wholly_on_the_device(tmp_path: Path, gpu: PretendedGpu) -> None:
    here = trained(tmp_path / "cpu", "cpu")
    gpu.clear()
    assert trained(tmp_path / "gpu", "cuda") == here
    assert gpu.calls["conv2d"] > 0
    assert gpu.strays["conv2d"] == gpu.strays["linear"] == gpu.strays["backward"] == 0
    there = bench("cuda")
    assert there.facts()["device"] == "cuda"
    assert there.calibration_images(5).device.type == there.model().conv1.weight.device.type == "cuda"


def _lab(name: str) -> Any:
    return importlib.import_module(LABS[name])


@pytest.mark.parametrize("name", [name for name in LABS if "device" in _lab(name).TAKES])
def test_without_a_gpu_a_lab_refuses_cuda(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run, out = _lab(name).run, tmp_path / "out"
    items = "3" if name == "ptq" else None
    with pytest.raises(PithError, match=r"--device cuda: torch 2\S+ .*; leave --device out"):
        run(out, LabOptions(quick=True, device="cuda", items=items), progress=Quiet())
    with pytest.raises(PithError, match="unknown device 'gpu': choose cpu, or cuda for one GPU"):
        run(out, LabOptions(quick=True, device="gpu", items=items), progress=Quiet())
    assert not out.exists()


@pytest.mark.parametrize("items", [None, "2", "3,2"])
def test_int8_files_are_not_timed_on_a_gpu(items: str | None, tmp_path: Path, gpu: PretendedGpu) -> None:
    with pytest.raises(PithError, match="item 2 of lab ptq runs int8 files in ONNX Runtime on the CPU; give"):
        ptq.run(tmp_path / "out", LabOptions(quick=True, device="cuda", items=items), progress=Quiet())
    assert not (tmp_path / "out").exists()


def test_a_lab_goes_on_where_it_was(tmp_path: Path) -> None:
    """On the device that its results name."""
    Notebook(tmp_path, {"lab": "pruning", "device": "cpu"}, progress=Quiet())
    with pytest.raises(PithError, match="was measured with device cpu, not cuda; resume with the same"):
        Notebook(tmp_path, {"lab": "pruning", "device": "cuda"}, resume=True, progress=Quiet())
    facts = {"lab": "pruning", "device": "cpu", "rows": [{"item": "1"}]}
    (tmp_path / "results.json").write_text(json.dumps(facts))
    assert Notebook(tmp_path, {"lab": "pruning", "device": "cpu"}, resume=True, progress=Quiet()).rows
