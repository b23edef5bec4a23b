"""The command line, called in this process, and a small trained checkpoint to call it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pithnet.cli.app import main

RECIPE = """\
name: tiny
steps:
  - prune: {sparsity: 0.6, ramp: 0.5, updates: 4}
    train: {epochs: 2, lr: 0.02}
  - share: {bits: 3}
    train: {epochs: 1, lr: 0.005}
batch_size: 64
distill: {weight: 0.5, views: 1}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls `pithnet ARGUMENTS` and gives (exit code, stdout, stderr)."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `pithnet train` on the digits, three epochs."""
    out = tmp_path_factory.mktemp("trained") / "run"
    options = ["--epochs", "3", "--lr", "0.1", "--batch-size", "64"]
    assert main(["train", "--model", "digits-cnn", "--data", "digits", *options, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def compressed(tmp_path_factory: pytest.TempPathFactory, trained: Path, recipe: Path) -> Path:
    """The folder of `pithnet compress` on that checkpoint."""
    out = tmp_path_factory.mktemp("compressed") / "run"
    chosen = ["--model", "digits-cnn", "--weights", str(trained / "model.pt"), "--recipe", str(recipe)]
    assert main(["compress", *chosen, "--data", "digits", "--out", str(out)]) == 0
    return out
