"""Twenty networks of ten families: compressed, saved, and loaded again where nothing else was before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import pithnet as pn
from pithnet.surgery import coverage

from .public import MODELS, answers, built, decoders

# Parameters of experts are in no layer: their names are given.
ALSO = {"mixtral": ("*.experts.*",)}
TESTS = Path(__file__).parents[1]


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("transformers.pytorch_utils")
    module.Conv1D = decoders.Conv1D  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers.pytorch_utils", module)


def compressed(name: str) -> tuple[nn.Module, nn.Module]:
    """The network with half of its weights zero and 16 values a layer, parametrized; and finalized."""
    model, also = built(name, seed=0), ALSO.get(name, ())
    pn.prune(model, 0.5, also=also)
    pn.share(model, bits=4, also=also)
    return model, pn.finalize(model)


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest ||a - b|| / ||b|| of the tensors."""
    return max(float((x - y).norm() / y.norm()) for x, y in zip(a, b, strict=True))


def test_there_are_twenty_of_ten_families() -> None:
    assert len(MODELS) == 20
    assert len({public.family for public in MODELS.values()}) == 10


@pytest.mark.usefixtures("transformers")
def test_twenty_files_are_loaded_in_one_new_process(tmp_path: Path) -> None:
    covered, apart, unseen = {}, {}, []
    for name in MODELS:
        before = answers(name, built(name, seed=0))
        model, final = compressed(name)
        expected = answers(name, final)
        covered[name] = coverage(model).share
        # What a file rounds, codebooks to float16 and biases to fixed point, is little beside the pruning.
        apart[name] = distance(expected, answers(name, model))
        if distance(expected, before) < 0.01:
            unseen.append(name)
        pn.save(final, tmp_path / f"{name}.pith")
        torch.save(expected, tmp_path / f"{name}.pt")
    assert {name: share for name, share in covered.items() if share < 0.9} == {}
    assert {name: error for name, error in apart.items() if error > 0.03} == {}
    assert unseen == [], "these do not compute with their masks"
    command = [sys.executable, "-m", "architectures.load_public", str(tmp_path)]
    loaded = subprocess.run(command, cwd=TESTS, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == []
