"""`--device`: what is refused, and that a run on a GPU, here a pretended one, is wholly there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerator import PretendedGpu

from pithnet import zoo
from pithnet.commands import compress as jobs
from pithnet.commands.devices import get_device
from pithnet.commands.evaluate import measure
from pithnet.commands.settings import CompressSettings, DataSettings, TrainSettings
from pithnet.commands.train import resume, train
from pithnet.errors import PithError
from pithnet.run.progress import Quiet

DIGITS = DataSettings(data="digits", val=1000)  # which leaves 297 images to learn from
TRAIN = TrainSettings(model="digits-cnn", epochs=2, lr=0.1)
RECIPE = """\
name: all
steps:
  - prune: {sparsity: 0.5, ramp: 0.5, updates: 3}
    train: {epochs: 1, lr: 0.02}
  - share: {levels: 6, rate_weight: 0.006, trained: true, skip: [linear]}
    train: {epochs: 1, lr: 0.02}
distill: {weight: 0.5, views: 1}
"""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGpu]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with PretendedGpu() as pretended:
        yield pretended


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(zoo.build("digits-cnn").state_dict(), tmp_path / "float.pt")
    return tmp_path / "float.pt"


def settings(run: Path) -> dict[str, Any]:
    return json.loads((run / "settings.json").read_text())["settings"]


def same_numbers(a: Path, b: Path) -> bool:
    """Whether both checkpoints hold the same, as torch reads them on a machine without a GPU."""
    first, second = (torch.load(path, weights_only=True) for path in (a, b))
    return first.keys() == second.keys() and all(torch.equal(v, second[k]) for k, v in first.items())


class Stops(Quiet):
    def epoch(self, *args: Any) -> None:
        raise KeyboardInterrupt


def test_a_training_is_wholly_on_the_device_also_after_a_stop(tmp_path: Path, gpu: PretendedGpu) -> None:
    train(DIGITS, TRAIN, tmp_path / "cpu")
    assert settings(tmp_path / "cpu")["device"] == "cpu"
    gpu.clear()
    there = replace(TRAIN, device="cuda")
    with pytest.raises(KeyboardInterrupt):
        train(DIGITS, there, tmp_path / "gpu", report=Stops())
    assert settings(tmp_path / "gpu")["device"] == "cuda"
    results = resume(tmp_path / "gpu")
    assert results["settings"]["device"] == "cuda"
    assert gpu.calls["conv2d"] > 0
    assert gpu.strays["conv2d"] == gpu.strays["linear"] == gpu.strays["backward"] == 0
    assert same_numbers(tmp_path / "gpu" / "model.pt", tmp_path / "cpu" / "model.pt")


def test_compressing_and_measuring_are_on_the_device(
    tmp_path: Path, gpu: PretendedGpu, weights: Path
) -> None:
    (tmp_path / "all.yaml").write_text(RECIPE)
    here = CompressSettings(
        model="digits-cnn",
        weights=str(weights),
        recipe=str(tmp_path / "all.yaml"),
        teacher=f"digits-cnn:{weights}",
    )
    jobs.compress(DIGITS, here, tmp_path / "cpu")
    gpu.clear()
    # The plan counts multiply-accumulates on the CPU, without computing anything.
    there = replace(here, device="cuda")
    finished = jobs.compress(DIGITS, there, tmp_path / "gpu", announce=lambda plan: gpu.clear())
    assert settings(tmp_path / "gpu")["device"] == "cuda"
    measured = measure(tmp_path / "gpu" / "model.pith", DIGITS, device="cuda")
    assert measured["accuracy"] == finished.results["after"]["accuracy"]
    assert gpu.calls["conv2d"] > 0
    assert gpu.strays["conv2d"] == gpu.strays["linear"] == gpu.strays["backward"] == 0
    for name in ("model.pith", "plan.json"):
        assert (tmp_path / "gpu" / name).read_bytes() == (tmp_path / "cpu" / name).read_bytes(), name
    assert same_numbers(tmp_path / "gpu" / "step-2.pt", tmp_path / "cpu" / "step-2.pt")


def refusals(weights: Path, out: Path, device: str) -> dict[str, Callable[[], object]]:
    """Everything that takes a device, asked for this one."""
    chosen = CompressSettings(model="digits-cnn", weights=str(weights), device=device)
    return {
        "train": lambda: train(DIGITS, replace(TRAIN, device=device), out),
        "compress": lambda: jobs.compress(DIGITS, chosen, out),
        "evaluate": lambda: measure(weights, DIGITS, "digits-cnn", device=device),
        "evaluate onnx": lambda: measure(weights.with_suffix(".onnx"), DIGITS, device=device),
    }


@pytest.mark.parametrize("what", ["train", "compress", "evaluate", "evaluate onnx"])
def test_without_a_gpu_cuda_is_refused_before_anything_starts(
    what: str, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        PithError, match=r"--device cuda: torch 2\S+ .*; leave --device out to compute on the"
    ):
        refusals(weights, tmp_path / "out", "cuda")[what]()
    with pytest.raises(PithError, match="unknown device 'gpu': choose cpu, or cuda for one GPU"):
        refusals(weights, tmp_path / "out", "gpu")[what]()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("cuda", "says"), [(None, "is built without CUDA"), ("12.8", "finds no GPU on this machine")]
)
def test_why_there_is_no_gpu_is_said(cuda: str | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(
        PithError, match=f"torch {torch.__version__.split('+')[0]}.* {says}; leave --device out"
    ):
        get_device("cuda")


def test_an_onnx_file_is_not_measured_on_a_gpu(tmp_path: Path, gpu: PretendedGpu) -> None:
    with pytest.raises(PithError, match=r"m\.onnx runs in ONNX Runtime on the CPU; leave out --device cuda"):
        measure(tmp_path / "m.onnx", DIGITS, device="cuda")


def test_a_run_of_before_there_were_devices_is_continued_on_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(DIGITS, TRAIN, tmp_path / "run", report=Stops())
    path = tmp_path / "run" / "settings.json"
    content = json.loads(path.read_text())
    del content["settings"]["device"]
    path.write_text(json.dumps(content))
    assert resume(tmp_path / "run")["settings"]["device"] == "cpu"
