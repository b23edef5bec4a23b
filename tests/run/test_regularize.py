"""`regularize` in a recipe: planned, carried out, recorded, resumed to the same bytes, refused beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pithnet import zoo
from pithnet.data import ArrayData, Batches, Normalization
from pithnet.errors import RecipeError
from pithnet.recipe import Recipe, load_recipe, parse, to_yaml
from pithnet.results import Store
from pithnet.run.plan import make_plan
from pithnet.surgery import weighted_layers
from tests.run.running import Crash, Parts, Shown, run


def problem(**changes: Any) -> Parts:
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8, generator=g)
    data = ArrayData(pixels, torch.randint(0, 10, (50,), generator=g))
    batches = Batches(data, 16, Normalization((0.4,), (0.3,)), shuffle=True, seed=2)
    return {"model": zoo.build("digits-cnn", width=4), "train": batches, **changes}


def recipe(**regularize: Any) -> Recipe:
    steps = [
        {"regularize": {"sparsity": 0.6, **regularize}, "train": {"epochs": 2, "lr": 0.05}},
        {"train": {"epochs": 1, "lr": 0.01}},
        {"share": {"bits": 2}},
    ]
    return parse({"name": "sparse", "steps": steps}, "test")


def zeros(model: nn.Module) -> list[int]:
    return [int((layer.weight == 0).sum()) for _, layer in weighted_layers(model)]


def events(folder: Store) -> list[dict[str, Any]]:
    lines = (folder.path / "events.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_zeros_are_exact_stay_through_debiasing_and_are_recorded(tmp_path: Path) -> None:
    folder = Store.create(tmp_path / "run", {})
    result = run(problem(), recipe(kind="trimmed-l1", until=0.5), folder)
    assert sum(zeros(result.model)) == round(0.6 * 980)
    (masked, shared) = [e for e in events(folder) if e["event"] == "pass"]
    assert masked["what"] == "regularize trimmed-l1 0.6"
    assert [row["zeros"] for row in masked["layers"]] == zeros(result.model)
    assert all(0 <= row["own_zeros"] <= row["size"] for row in masked["layers"])
    assert [row["zeros"] for row in shared["layers"]] == zeros(result.model)


def test_group_lasso_records_its_zero_filters(tmp_path: Path) -> None:
    folder = Store.create(tmp_path / "run", {})
    what = recipe(kind="group-lasso", strength=0.01, skip=["linear"])
    result = run(problem(), what, folder)
    masked = next(e for e in events(folder) if e["event"] == "pass")
    for row in masked["layers"]:
        filters = result.model.get_submodule(row["name"]).weight.flatten(1)
        assert row["zero_groups"] == (~filters.any(1)).nonzero().flatten().tolist()
    assert sum(len(row["zero_groups"]) for row in masked["layers"]) > 5


@pytest.mark.parametrize(
    "options",
    [{"kind": "l1", "until": 0.7}, {"kind": "keep-k", "how": "admm"}],
    ids=["l1 with its strength searched", "admm"],
)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_stopped_after_any_epoch_ends_in_the_same_bytes(
    options: dict[str, Any], stop: int, tmp_path: Path
) -> None:
    what, folder = recipe(**options), Store.create(tmp_path / "whole", {})
    whole = run(problem(), what, folder)
    begun = Store.create(tmp_path / "cut", {})
    with pytest.raises(Crash):
        run(problem(), what, begun, Shown(crash_at=stop))
    begun.close()
    again = Store.open(tmp_path / "cut")
    assert run(problem(), what, again).data == whole.data
    assert events(again) == events(folder)


def test_the_plan_counts_the_zeros_to_come() -> None:
    model = problem()["model"]
    plan = make_plan(model, recipe(kind="l1"))
    assert sum(row.zeros for row in plan.layers) == round(0.6 * 980)
    assert {row.passes for row in plan.layers} == {"regularize, share"}
    assert zeros(model) == [0, 0, 0, 0]


def test_a_recipe_is_written_and_read_again(tmp_path: Path) -> None:
    what = recipe(kind="mcp", parameters={"gamma": 2.5}, rho=[0.01, 0.1])
    path = tmp_path / "sparse.yaml"
    path.write_text(to_yaml(what))
    assert load_recipe(path) == what
    assert what.steps[0].title == "regularize mcp"
    assert sum(zeros(run(problem(), what).model)) == round(0.6 * 980)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "trimed-l1"}, r"unknown regularizer 'trimed-l1'. Did you mean trimmed-l1"),
        ({"kind": "hoyer-square", "how": "proximal"}, r"'hoyer-square' has no prox.*use how='loss'"),
        ({"kind": "hoyer-square"}, r"'hoyer-square' needs a strength here"),
        ({"kind": "keep-k", "sparsity": None}, r"'keep-k' keeps a number of weights; give the sparsity"),
        ({"kind": "l1", "parameters": {"gamma": 2}}, r"'l1' has no parameter 'gamma'"),
        ({"kind": "l1", "skip": ["fc"]}, r"skip: 'fc' matches no layer"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_plan(problem()["model"], recipe(**options))


def test_shared_weights_cannot_be_regularized() -> None:
    steps = [{"share": {"bits": 2}}, {"regularize": {"sparsity": 0.5}, "train": {"epochs": 1}}]
    with pytest.raises(RecipeError, match=r"'regularize trimmed-l1' comes after sharing"):
        make_plan(problem()["model"], parse({"name": "x", "steps": steps}, "test"))
