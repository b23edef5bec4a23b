"""docs/adding.md: its examples are what a newcomer types, and they work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import pithnet as pn
from pithnet.passes import forget
from pithnet.tensor import CRITERIA

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "adding.md").read_text()
CRITERION, PASS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return pn.zoo.build("digits-cnn", width=4)


def test_a_criterion_of_ones_own_prunes() -> None:
    names: dict[str, Any] = {"__name__": "mine"}
    exec(compile(CRITERION, "docs/adding.md", "exec"), names)
    try:
        model = net()
        before = model.conv2.weight.detach().clone()
        pn.prune(model, 0.5, scope="uniform", criterion="far-from-mean")
        far = (before - before.mean()).abs()
        kept = model.conv2.weight != 0
        assert far[kept].min() >= far[~kept].max()
        plan = pn.plan(net(), {"steps": [{"prune": {"sparsity": 0.5, "criterion": "far-from-mean"}}]})
        assert sum(layer.zeros for layer in plan.layers) == round(0.5 * 980)
    finally:
        del CRITERIA["far-from-mean"]


@pytest.mark.filterwarnings("ignore:.* bytes and this file:pithnet.PithWarning")
def test_a_pass_of_ones_own_is_a_step_of_a_recipe() -> None:
    exec(compile(PASS, "docs/adding.md", "exec"), {"__name__": "mine"})
    try:
        recipe = {"steps": [{"clip": {"limit": 0.05}}, {"share": {"bits": 2}}]}
        result = pn.compress(net(), recipe=recipe, rivals=False)
        assert result.model.conv2.weight.abs().max() <= 0.0501
    finally:
        forget("clip")


def test_the_files_it_names_are_there() -> None:
    named = re.findall(r"`((?:src|docs|labs)/[\w/.]+)`", PAGE) + re.findall(r"\b(tests/[\w/]+\.py)", PAGE)
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "src" / "pithnet" / name).exists(), name
    assert len(named) > 6
