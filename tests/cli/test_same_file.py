"""A run from the command line and one from Python with the same settings write the same .pith."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pithnet as pn
from pithnet import data
from pithnet.data import NORMALIZATIONS, Batches
from pithnet.errors import PithError
from pithnet.recipe import load_recipe, with_calibration

from .conftest import Run

COUNT, SEED, BYTES = 16, 3, 1400


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of a narrow network, which the function `narrow_digits:net` builds."""
    module = 'from pithnet import zoo\n\n\ndef net():\n    return zoo.build("digits-cnn", width=4)\n'
    (tmp_path / "narrow_digits.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    torch.save(pn.zoo.build("digits-cnn", width=4).state_dict(), tmp_path / "net.pt")
    return tmp_path / "net.pt"


def _compressed(weights: Path, out: Path, source: Path | None) -> bytes:
    recipe = with_calibration(load_recipe("post-training"), COUNT)
    model = pn.zoo.build("digits-cnn", width=4)
    model.load_state_dict(torch.load(weights))
    train, test = (
        Batches(data.load("digits", None, part), size, NORMALIZATIONS["digits"], shuffle=shuffled, seed=SEED)
        for part, size, shuffled in (("train", recipe.batch_size, True), ("test", 500, False))
    )
    given = {"budget": {"bytes": BYTES}, "seed": SEED, "rivals": False, "source": source, "out": out}
    pn.compress(model, train, test, recipe, **given)  # type: ignore[arg-type]
    return (out / "model.pith").read_bytes()


def test_the_command_line_writes_the_bytes_that_python_writes(
    run: Run, weights: Path, tmp_path: Path
) -> None:
    chosen = ["--model", "narrow_digits:net", "--weights", weights, "--data", "digits"]
    budget = ["--budget", "bytes=1.4k", "--calibrate", str(COUNT), "--seed", str(SEED)]
    code, _, err = run("compress", *chosen, "--recipe", "post-training", *budget, "--out", tmp_path / "cli")
    assert code == 0, err
    written = (tmp_path / "cli" / "model.pith").read_bytes()
    assert BYTES * 0.9 < len(written) <= BYTES
    assert written == _compressed(weights, tmp_path / "python", weights)
    with pytest.raises(PithError, match=r"gone\.pt cannot be read: No such file"):
        _compressed(weights, tmp_path / "never", tmp_path / "gone.pt")
    assert not (tmp_path / "never").exists()
