"""`quantize` in a recipe: planned, carried out, recorded, resumed to the same bytes, refused beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pithnet import artifact, zoo
from pithnet.data import ArrayData, Batches, Normalization
from pithnet.errors import RecipeError
from pithnet.recipe import Recipe, parse
from pithnet.results import Store
from pithnet.run.plan import make_plan
from pithnet.surgery import weighted_layers
from tests.run.running import Crash, Parts, Shown, run


def problem() -> Parts:
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8, generator=g)
    data = ArrayData(pixels, torch.randint(0, 10, (50,), generator=g))
    batches = Batches(data, 16, Normalization((0.4,), (0.3,)), shuffle=True, seed=2)
    return {"model": zoo.build("digits-cnn", width=4), "train": batches}


def recipe(**options: Any) -> Recipe:
    steps = [
        {"prune": {"sparsity": 0.5}},
        {"quantize": {"bits": 3, "quantizer": "lsq", **options}, "train": {"epochs": 2, "lr": 0.05}},
        {"train": {"epochs": 1, "lr": 0.01}},
    ]
    return parse({"name": "fixed point", "steps": steps}, "test")


def most_levels(model: nn.Module) -> int:
    """The most distinct non-zero values in a channel of any layer."""
    rows = (row for _, layer in weighted_layers(model) for row in layer.weight.detach().flatten(1))
    return max(row[row != 0].unique().numel() for row in rows)


def events(folder: Store) -> list[dict[str, Any]]:
    lines = (folder.path / "events.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize("quantizer", ["linear", "dynamic", "lsq", "apot"])
def test_zeros_and_levels_hold_through_training_and_in_the_file(quantizer: str, tmp_path: Path) -> None:
    folder = Store.create(tmp_path / "run", {})
    result = run(problem(), recipe(quantizer=quantizer), folder)
    weights = torch.cat([layer.weight.flatten() for _, layer in weighted_layers(result.model)])
    assert int((weights == 0).sum()) >= round(0.5 * len(weights))  # masked, and rounded to zero
    assert 2 <= most_levels(result.model) <= 8
    state, _ = artifact.decode(result.data)
    for key, value in artifact.plain_state(result.model).items():
        if not key.endswith("num_batches_tracked"):  # no file keeps them
            assert torch.equal(state[key], value), key
    passes = [e["what"] for e in events(folder) if e["event"] == "pass"]
    assert passes[1] == f"quantize {quantizer} 3 bits"


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_after_any_epoch_ends_in_the_same_bytes(at: int, tmp_path: Path) -> None:
    whole = run(problem(), recipe(), Store.create(tmp_path / "whole", {}))
    folder = Store.create(tmp_path / "run", {})
    with pytest.raises(Crash):
        run(problem(), recipe(), folder, Shown(crash_at=at))
    folder.close()
    assert run(problem(), recipe(), Store.open(tmp_path / "run")).data == whole.data


def test_the_plan_expects_about_the_bytes_of_the_file() -> None:
    what = parse(
        {"name": "x", "steps": [{"quantize": {"bits": 4, "quantizer": "lsq", "skip": ["linear"]}}]}, "x"
    )
    torch.manual_seed(0)
    given = {"model": zoo.build("digits-cnn")}
    plan = make_plan(given["model"], what)
    assert [row.passes for row in plan.layers] == ["quantize"] * 3 + ["as it is"]
    assert [row.levels for row in plan.layers[:3]] == [15] * 3  # and zero
    assert plan.layers[3].levels is None
    tensors = {t.name: sum(t.bytes.values()) for t in artifact.inspect(run(given, what).data).tensors}
    found = sum(tensors[f"{row.name}.weight"] for row in plan.layers[:3])
    assert found == pytest.approx(sum(row.bytes for row in plan.layers[:3]), rel=0.02)


def test_bits_by_pattern_are_those_of_the_layers() -> None:
    plan = make_plan(problem()["model"], recipe(overrides={"conv*": 1, "linear": None}))
    assert plan.layers[0].levels == 2
    assert plan.layers[-1].levels is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantizer": "lsqq"}, "lsqq.*Did you mean lsq"),
        ({"fit": "mean"}, "unknown fit 'mean'"),
        ({"overrides": {"convv": 2}}, "'convv' matches no layer"),
        ({"skip": ["convv"]}, "convv"),
    ],
)
def test_a_fault_is_named_before_anything_is_trained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_plan(problem()["model"], recipe(**options))
