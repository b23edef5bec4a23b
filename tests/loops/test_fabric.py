"""Two processes of Lightning Fabric end with the same masks, codebooks and weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import pithnet as pn

from .compressed import FORMS, assert_kept, layers, plain

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    pytest.importorskip("lightning_fabric", reason="the extra [distributed] is not installed")
    out = tmp_path_factory.mktemp("fabric")
    command = [sys.executable, "-m", "tests.loops.fabric_ranks", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("form", FORMS)
def test_both_ranks_hold_the_same_bits(ranks: list[dict[str, Any]], form: str) -> None:
    first, second = (rank[form]["after"] for rank in ranks)
    assert list(first) == list(second)
    # BatchNorm's statistics belong to the rank's own batches until the next forward pass.
    same = [k for k in first if not k.endswith(("running_mean", "running_var"))]
    assert all(torch.equal(first[k], second[k]) for k in same)
    assert any("parametrizations" in k for k in same)


@pytest.mark.parametrize("form", FORMS)
def test_zeros_and_levels_are_those_of_the_first_rank(ranks: list[dict[str, Any]], form: str) -> None:
    start = layers(FORMS[form]())
    for rank in ranks:
        assert_kept(start, pn.restore(plain(seed=9), rank[form]["after"]))
        begun = layers(pn.restore(plain(seed=9), rank[form]["before"]))
        assert all(torch.equal(begun[name].weight, layer.weight) for name, layer in start.items())
