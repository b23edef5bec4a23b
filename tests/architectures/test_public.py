"""Twenty networks of ten families: compressed, saved, and loaded again where nothing else was before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

import pithnet as pn

from .public import MODELS, answers, built, decoders

# Parameters of experts are in no layer: their names are given.
ALSO = {"mixtral": ("*.experts.*",)}
TESTS = Path(__file__).parents[1]


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("transformers.pytorch_utils")
    module.Conv1D = decoders.Conv1D  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers.pytorch_utils", module)


RECIPE = pn.recipe.parse(
    {"name": "half", "steps": [{"prune": {"sparsity": 0.5}}, {"share": {"bits": 4}}]}, "half"
)


def distance(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest ||a - b|| / ||b|| of the tensors."""
    return max(float((x - y).norm() / y.norm()) for x, y in zip(a, b, strict=True))


def test_there_are_twenty_of_ten_families() -> None:
    assert len(MODELS) == 20
    assert len({public.family for public in MODELS.values()}) == 10


@pytest.mark.usefixtures("transformers")
def test_twenty_files_are_loaded_in_one_new_process(tmp_path: Path) -> None:
    covered, zeros, unseen = {}, {}, []
    for name in MODELS:
        model = built(name, seed=0)
        result = pn.compress(model, recipe=RECIPE.with_also(ALSO.get(name, ())))
        covered[name] = result.coverage
        zeros[name] = sum(int((p == 0).sum()) for p in result.model.parameters() if p.ndim > 1)
        zeros[name] /= result.coverage * sum(p.numel() for p in model.parameters())
        expected = answers(name, result.model)
        if distance(expected, answers(name, model)) < 0.01:
            unseen.append(name)
        result.save(tmp_path / f"{name}.pith")
        torch.save(expected, tmp_path / f"{name}.pt")
    assert {name: share for name, share in covered.items() if share < 0.9} == {}
    assert {name: share for name, share in zeros.items() if not 0.49 < share < 0.52} == {}
    assert unseen == [], "these do not compute with their masks"
    command = [sys.executable, "-m", "architectures.load_public", str(tmp_path)]
    loaded = subprocess.run(command, cwd=TESTS, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == []


@pytest.mark.usefixtures("transformers")
def test_experts_that_are_not_named_are_warned_of_with_the_fix() -> None:
    with pytest.warns(pn.PithWarning) as caught:
        result = pn.compress(built("mixtral", seed=0), recipe=RECIPE)
    assert result.coverage < 0.3
    said = str(caught[0].message)
    assert "only 29.3 % of the parameters will be compressed" in said
    fix = "['model.layers.*.mlp.experts.gate_up_proj', 'model.layers.*.mlp.experts.down_proj'], or skip them"
    assert said.endswith(f"give also={fix}")
