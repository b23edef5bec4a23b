"""docs/adding.md: its examples are what a newcomer types, and they work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import pithnet as pn
from pithnet.passes import forget
from pithnet.tensor import CHANNEL_CRITERIA, CRITERIA

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "adding.md").read_text()
CRITERION, CHANNELS, PASS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return pn.zoo.build("digits-cnn", width=4)


def test_a_criterion_of_ones_own_prunes() -> None:
    names: dict[str, Any] = {"__name__": "mine"}
    exec(compile(CRITERION, "docs/adding.md", "exec"), names)
    try:
        model, layers = net(), ("conv2", "linear")
        before = {name: model.get_submodule(name).weight.detach().abs() for name in layers}
        pn.prune(model, 0.5, criterion="relative")
        scores = {name: weight / weight.max() for name, weight in before.items()}
        kept = {name: model.get_submodule(name).weight != 0 for name in layers}
        goes = max(float(scores[name][~kept[name]].max()) for name in layers)
        assert goes <= min(float(scores[name][kept[name]].min()) for name in layers)
        # By magnitude alone another threshold would hold in each layer.
        cut = {name: float(before[name][~kept[name]].max()) for name in layers}
        assert cut["conv2"] != pytest.approx(cut["linear"], rel=0.05)
        plan = pn.plan(net(), {"steps": [{"prune": {"sparsity": 0.5, "criterion": "relative"}}]})
        assert sum(layer.zeros for layer in plan.layers) == round(0.5 * 980)
    finally:
        del CRITERIA["relative"]


def test_a_criterion_of_channels_of_ones_own_shrinks() -> None:
    exec(compile(CHANNELS, "docs/adding.md", "exec"), {"__name__": "mine"})
    try:
        model = net()
        with torch.no_grad():
            model.conv2.weight[[1, 4, 6]] = 0
        settings = {"rates": {"conv2": 0.625}, "criterion": "nonzeros", "round_to": 1}
        small = pn.plan_shrink(model, torch.zeros(1, 1, 8, 8), **settings).cut()
        assert torch.equal(small.conv2.weight, model.conv2.weight[[0, 2, 3, 5, 7]])
    finally:
        del CHANNEL_CRITERIA["nonzeros"]


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
