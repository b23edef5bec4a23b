from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pithnet import zoo
from pithnet.errors import DataError, ModelError
from pithnet.labs import LABS, pruning
from pithnet.labs.bench import Bench
from pithnet.labs.start import open_lab
from pithnet.run.progress import Quiet

OPTIONS = ["out", "data", "data_root", "weights", "quick", "resume", "seed", "progress"]


class Notes(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def test_every_lab_is_run_the_same_way() -> None:
    assert list(LABS) == ["pruning", "deep-compression"]
    for module in LABS.values():
        run = importlib.import_module(module).run
        assert list(inspect.signature(run).parameters) == OPTIONS


def test_the_list_of_labs_needs_no_torch() -> None:
    code = "import sys, pithnet.labs; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_data_the_labs_have_no_network_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the labs do not run on 'cifar'\. Did you mean cifar10"):
        pruning.run(tmp_path / "out", data="cifar", progress=Quiet())
    with pytest.raises(DataError, match="needs --data-root"):
        pruning.run(tmp_path / "out", progress=Quiet())
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(zoo.build("digits-cnn", width=8).state_dict(), tmp_path / "narrow.pt")
    with pytest.raises(ModelError, match=r"narrow\.pt does not fit this architecture: conv1.weight"):
        pruning.run(tmp_path / "out", quick=True, weights=tmp_path / "narrow.pt", progress=Quiet())


def test_a_checkpoint_is_where_the_lab_starts(tmp_path: Path) -> None:
    torch.manual_seed(5)
    saved = zoo.build("digits-cnn").state_dict()
    torch.save(saved, tmp_path / "weights.pt")
    bench = Bench.open("digits", None, tmp_path / "weights.pt", 64, 0)
    assert torch.equal(bench.model().state_dict()["conv2.weight"], saved["conv2.weight"])
    assert bench.facts()["weights"]["file"] == "weights.pt"
    assert len(bench.facts()["weights"]["sha256"]) == 16


def test_choices_are_made_on_training_images(tmp_path: Path) -> None:
    bench = Bench.open("digits", None, None, 64, 0)
    chosen = bench.choice_batches().data
    assert len(chosen) == 129
    train = {image.numpy().tobytes() for image in bench.images.train.images}  # type: ignore[union-attr]
    assert all(image.numpy().tobytes() in train for image in chosen.images)


def test_quick_says_that_it_does_not_use_the_data_asked_for(tmp_path: Path) -> None:
    notes = Notes()
    book, bench = open_lab(
        "pruning",
        tmp_path / "out",
        data="cifar10",
        data_root=tmp_path,
        weights=None,
        quick=True,
        resume=False,
        seed=0,
        progress=notes,
        batch_size=64,
        facts={},
    )
    assert notes.lines == ["--quick runs on the bundled digits; --data and --data-root are not used"]
    assert (bench.architecture, book.facts["dataset"]) == ("digits-cnn", "digits")
    assert book.facts["command"] == f"pithnet lab pruning --out {tmp_path}/out --quick"
