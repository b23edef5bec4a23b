"""A bench small enough to train on in a test, and quick labs that several files of tests look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pithnet.cli.app import main
from pithnet.commands.inputs import Images
from pithnet.commands.settings import DataSettings
from pithnet.labs import LabOptions
from pithnet.labs.deep_compression import experiment as deep_compression
from pithnet.labs.fixed_point import experiment as fixed_point
from pithnet.labs.pruning import experiment as pruning
from pithnet.labs.ptq import experiment as ptq
from pithnet.labs.workbench import Workbench
from pithnet.run.progress import Quiet

# The networks of item 7 of `lab pruning`.
STRUCTURES = (
    *(f"digits-cnn, {what}" for what in ("nothing", "weights", "kernels", "filters", "channels")),
    *(f"two hidden layers, {what}" for what in ("nothing", "weights", "neurons")),
)
# Those of item 1 of `lab ptq`.
PRUNED_NETWORKS = ("nothing pruned", "90 %, each layer", "90 %, one ranking")


def keep_times(folder: Path, name: str, networks: Sequence[str]) -> None:
    """Gives a lab times that it would have to export every network for; test_footprint.py measures some."""
    rows = {network: {"ms": 1.0, "ms_low": 0.9, "ms_high": 1.1} for network in networks}
    (folder / "state").mkdir(parents=True)
    torch.save({"rows": rows}, folder / "state" / f"{name}.pt")


@pytest.fixture
def small_bench() -> Workbench:
    """The digits' CNN on 128 images, measured on 100."""
    bench = Workbench.open(DataSettings(data="digits"), None, batch_size=64, seed=0)
    assert bench.images.train is not None
    images = Images(
        "digits", bench.images.train.take(torch.arange(128)), bench.images.test.take(torch.arange(100))
    )
    return replace(bench, images=images)


@pytest.fixture(scope="session")
def pruning_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick `lab pruning`, every item. Its results.json and state are there to be read."""
    folder = tmp_path_factory.mktemp("lab") / "pruning"
    keep_times(folder, "times-of-structures", STRUCTURES)
    assert pruning.run(folder, LabOptions(quick=True), progress=Quiet()) == folder / "results.json"
    return folder


@pytest.fixture(scope="session")
def deep_compression_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick `lab deep-compression`, every item. What is in it is there to be read."""
    folder = tmp_path_factory.mktemp("lab") / "deep-compression"
    path = deep_compression.run(folder, LabOptions(quick=True), progress=Quiet())
    assert path == folder / "results.json"
    return folder


@pytest.fixture(scope="session")
def linear_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick `lab linear`, begun at the command line."""
    folder = tmp_path_factory.mktemp("lab") / "linear"
    assert main(["lab", "linear", "--out", str(folder), "--quick"]) == 0
    return folder


@pytest.fixture(scope="session")
def fixed_point_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick `lab fixed-point`, every item. What is in it is there to be read."""
    folder = tmp_path_factory.mktemp("lab") / "fixed-point"
    assert fixed_point.run(folder, LabOptions(quick=True), progress=Quiet()) == folder / "results.json"
    return folder


@pytest.fixture(scope="session")
def ptq_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick `lab ptq`, every item. What is in it is there to be read."""
    folder = tmp_path_factory.mktemp("lab") / "ptq"
    keep_times(folder, "times-of-pruned-networks", PRUNED_NETWORKS)
    assert ptq.run(folder, LabOptions(quick=True), progress=Quiet()) == folder / "results.json"
    return folder
