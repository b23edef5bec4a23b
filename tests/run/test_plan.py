"""A plan: what it expects is about what comes, it is quick, and it changes nothing."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import pithnet as pn
from pithnet.passes.sketch import MOST, sampled_rows

RECORDS = Path(__file__).parent.parent.parent / "records"


@pytest.mark.parametrize(("preset", "within"), [("deep-compression", 0.15), ("smallest", 0.25)])
def test_its_bytes_are_about_those_of_the_committed_files(preset: str, within: float) -> None:
    model = pn.zoo.load("resnet20", weights=RECORDS / "resnet20-own.pt")
    plan = pn.plan(model, preset)
    real = (RECORDS / f"resnet20-own-{preset}.pith").stat().st_size
    assert plan.bytes == pytest.approx(real, rel=within)


def test_rows_are_those_of_every_step_and_macs_those_of_the_network() -> None:
    model = pn.zoo.build("digits-cnn", width=16)
    before = copy.deepcopy(model.state_dict())
    plan = pn.plan(model, "deep-compression", example=torch.zeros(1, 1, 8, 8))
    assert [step.title for step in plan.steps] == ["prune 0.77", "share 16 levels"]
    assert [step.epochs for step in plan.steps] == [12, 3]
    pruned, shared = (step.rows for step in plan.steps)
    weights = sum(row.size for row in pruned)
    assert sum(row.zeros for row in pruned) == round(0.77 * weights)
    assert [row.zeros for row in shared] == [row.zeros for row in pruned] == [m.zeros for m in plan.layers]
    assert {row.levels for row in shared} == {16}
    assert plan.macs == pn.costs(model, torch.zeros(1, 1, 8, 8)).macs
    assert pn.plan(model, "deep-compression").macs is None
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    text = str(plan)
    assert f"{plan.bytes:,} bytes" in text
    assert all(layer.name in text for layer in plan.layers)
    assert plan.coverage.share == pytest.approx(weights / sum(p.numel() for p in model.parameters()))


def test_pruned_filters_need_no_positions() -> None:
    torch.manual_seed(0)
    model = pn.zoo.build("digits-cnn", width=16)
    recipe = {
        "steps": [
            {"prune": {"sparsity": 0.5, "granularity": "filter", "scope": "uniform"}},
            {"share": {"levels": 16}},
        ]
    }
    assert pn.plan(model, recipe).bytes == pytest.approx(pn.compress(model, recipe=recipe).bytes, rel=0.1)


@pytest.mark.parametrize(
    "step",
    [
        {"prune": {"sparsity": 0.6, "scope": "uniform"}},
        {"prune": {"sparsity": 0.6, "scope": "erk"}},
        {"prune": {"granularity": "2:4"}},
        {"prune": {"std": 0.5}},
        {"quantize": {"bits": 3, "quantizer": "linear"}},
        {"quantize": {"bits": 4, "quantizer": "apot", "granularity": "tensor"}},
        {"share": {"levels": 7, "rate_weight": 0.02}},
    ],
    ids=lambda step: str(step)[1:40],
)
def test_a_plan_of_a_small_network_is_what_one_shot_passes_do(step: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = pn.zoo.build("digits-cnn", width=16)
    recipe = {"steps": [step]}
    plan = pn.plan(model, recipe)
    result = pn.compress(model, recipe=recipe, rivals=False)
    stored = {t.name: t for t in result.result.inspection.tensors}
    for layer in plan.layers:
        assert layer.zeros == stored[f"{layer.name}.weight"].zeros
        if layer.levels is not None:
            spent = sum(stored[f"{layer.name}.weight"].bytes.values())
            assert layer.bytes == pytest.approx(spent, rel=0.15, abs=20)


def test_large_layers_are_sampled() -> None:
    weight = torch.randn(5000, 700)
    rows = sampled_rows(weight, (0,))
    assert MOST / 4 < rows.numel() <= 2 * MOST
    assert torch.isin(rows, weight).all()
    model = nn.Sequential(nn.Linear(3000, 2000), nn.ReLU(), nn.Linear(2000, 10))
    plan = pn.plan(model, "deep-compression")
    zeros = sum(layer.zeros for layer in plan.layers)
    assert zeros == pytest.approx(0.77 * 6_020_000, rel=0.01)
